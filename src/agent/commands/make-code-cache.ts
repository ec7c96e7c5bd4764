import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { Script } from 'node:vm';
import { writeFileAtomic } from '../../core/base/atomic-file.ts';
import { systemClock, TimeLimitError } from '../../core/base/clock.ts';
import { CODE_CACHE_FILE, MAKES_CODE_CACHE, programDigest, unsealCodeCache } from '../../core/base/code-cache.ts';
import { minutes } from '../../core/base/duration.ts';
import { AgentError, errnoOf, messageOf } from '../../core/base/errors.ts';
import { readArguments, type World } from '../../core/command-line/command.ts';

export const summary = 'Make the program start faster; the installation does it.';
export const usage = `vakt make-code-cache

Keeps what V8 has compiled beside the program, so that the agent starts in three quarters of the time. Run it as root, and
again after an upgrade of Node; the Debian package does both. To find out what is needed, it runs the agent for some
seconds as a user without rights, sends nothing, and does not affect an agent that is running.`;

/** Found in the shipped program only. */
const PROGRAM = fileURLToPath(new URL('./program.js', import.meta.url));
const MAIN = fileURLToPath(new URL('./main.js', import.meta.url));
const CACHE = fileURLToPath(new URL(`./${CODE_CACHE_FILE}`, import.meta.url));

/** Where a run looks for tools: none that a user could put elsewhere. */
const TOOLS = '/usr/sbin:/usr/bin:/sbin:/bin';
/** For a run; a slow processor takes half a minute. */
const LIMIT = minutes(5);
/** In bytes. The cache has about three million. */
const LARGEST_CACHE = 64 * 1024 * 1024;
/** In characters, of what a run that failed has said. */
const LONGEST_ERROR = 2_048;

export async function run(args: readonly string[], { stdout, signal }: World): Promise<number> {
  readArguments(args, {});
  const source = readProgram();
  const sealed = await cacheOfRun(signal);
  const cachedData = unsealCodeCache(sealed, programDigest(source));
  if (cachedData === undefined || !isTaken(source, cachedData)) {
    throw failed('the run of the agent gave none that fits');
  }
  try {
    writeFileAtomic(CACHE, sealed);
    chmodSync(CACHE, 0o644); // whatever root's umask is: the agent reads it
  } catch (cause) {
    throw failed(`${CACHE} can't be written: ${messageOf(cause)}`, { cause });
  }
  stdout(`${CACHE}, ${sealed.length} bytes`);
  return 0;
}

/** @throws {AgentError} CODE_CACHE_FAILED */
function readProgram(): Buffer {
  try {
    return readFileSync(PROGRAM);
  } catch (cause) {
    throw failed(`${PROGRAM} can't be read: ${messageOf(cause)}`, { cause });
  }
}

/**
 * Whether V8 takes it in this process, which was started as the agent is. Under another name: what V8 has compiled before
 * by the same name and source, as this program, it takes from its memory, and never looks at the data.
 */
const isTaken = (source: Buffer, cachedData: Buffer): boolean =>
  new Script(source.toString('latin1'), { filename: `${PROGRAM} again`, cachedData }).cachedDataRejected === false;

const failed = (why: string, options?: ErrorOptions) =>
  new AgentError(
    'CODE_CACHE_FAILED',
    `no code cache was made: ${why}`,
    'The agent works without it. To create it, run this command as root where Vakt is installed, on a writable file system.',
    options,
  );

/**
 * The sealed cache of what V8 compiles in a dry run, until its first message. The run needs no rights, and the agent will
 * execute its result. So root starts it as an otherwise unused user: another process of the same user could change it
 * by ptrace(2).
 */
async function cacheOfRun(signal: AbortSignal): Promise<Buffer> {
  const isRoot = process.geteuid?.() === 0;
  // root's TMPDIR may be closed to the run's user, as with libpam-tmpdir.
  const folder = mkdtempSync(join(isRoot ? '/tmp' : tmpdir(), 'vakt-code-cache-'));
  try {
    const configuration = join(folder, 'agent.json');
    const apart = { stateDirectory: join(folder, 'state'), controlSocket: join(folder, 'control.sock') };
    writeFileSync(configuration, JSON.stringify(apart));
    const forRun = join(folder, 'run');
    mkdirSync(forRun);
    for (const [path, mode] of Object.entries({ [folder]: 0o755, [configuration]: 0o644 })) chmodSync(path, mode);
    const dryRun = async (user?: { readonly uid: number; readonly gid: number }) => {
      if (user !== undefined) chownSync(forRun, user.uid, user.gid);
      const command = [...process.execArgv, MAIN, 'run', '--dry-run', '--config', configuration];
      const child = spawn(process.execPath, command, {
        ...user,
        cwd: '/',
        env: { PATH: TOOLS, TMPDIR: forRun, [MAKES_CODE_CACHE.variable]: MAKES_CODE_CACHE.value },
        stdio: ['ignore', 'pipe', 'pipe', 'pipe'], // the last is MAKES_CODE_CACHE.descriptor
      });
      return untilFirstMessage(child, signal);
    };
    if (!isRoot) return await dryRun();
    try {
      return await dryRun(unusedUser());
    } catch (error) {
      if (errnoOf(error) !== 'EINVAL') throw error;
      return await dryRun(); // a user namespace that has no such user: its root has no privileges on the host
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A user of a range that nothing gives out, see systemd's UIDS-GIDS.md. Node takes numbers below 2^31. */
function unusedUser(): { uid: number; gid: number } {
  const id = randomInt(2_000_000_000, 2_100_000_000);
  return { uid: id, gid: id };
}

/** Stops a dry run after its first message. @returns its output on MAKES_CODE_CACHE.descriptor */
async function untilFirstMessage(child: ChildProcess, signal: AbortSignal): Promise<Buffer> {
  const kill = () => void child.kill('SIGKILL');
  const made: Buffer[] = [];
  let bytes = 0;
  let output = '';
  // Once: at a second signal the agent ends at once, without a cache. What it prints until then is dropped.
  child.stdout?.once('data', () => child.kill('SIGTERM')).resume();
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    output = (output + text).slice(-LONGEST_ERROR);
  });
  (child.stdio[MAKES_CODE_CACHE.descriptor] as Readable).on('data', (part: Buffer) => {
    bytes += part.length;
    if (bytes > LARGEST_CACHE) kill();
    else made.push(part);
  });
  const closed = new Promise<number | NodeJS.Signals | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status, signalled) => resolve(status ?? signalled));
  });
  signal.addEventListener('abort', kill, { once: true });
  try {
    const status = await systemClock.within(LIMIT, 'the run of the agent', closed);
    signal.throwIfAborted();
    if (bytes > LARGEST_CACHE) throw failed(`the run of the agent gave more than ${LARGEST_CACHE} bytes`);
    if (status !== 0) throw failed(`the run of the agent ended with ${status}: ${output.trim()}`);
    return Buffer.concat(made);
  } catch (error) {
    if (error instanceof TimeLimitError) throw failed(error.message, { cause: error });
    throw error;
  } finally {
    signal.removeEventListener('abort', kill);
    kill();
  }
}
