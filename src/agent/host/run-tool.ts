import { execFile, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { type Duration, seconds } from '../../core/base/duration.ts';
import { errnoOf } from '../../core/base/errors.ts';
import { nextTurn } from '../../core/base/waiting.ts';
import { rememberOwn } from './own-processes.ts';

/** Where tools are searched, in this order. PATH is ignored, since any program that starts the agent could set it. */
const FOLDERS = ['/usr/sbin', '/sbin', '/usr/bin', '/bin'];

const LIMIT = seconds(10);

/** Full path of a tool, or `undefined` when it is not installed. */
export function findTool(name: string): string | undefined {
  return FOLDERS.map((folder) => `${folder}/${name}`).find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

interface Options {
  readonly signal: AbortSignal;
  /** Limit of the standard output, in bytes. More is an error: half an answer would be a wrong one. */
  readonly maxBytes: number;
  readonly limit?: Duration;
  /** Exit statuses other than 0 that also mean success. */
  readonly alsoFine?: readonly number[];
  /** Added to the minimal environment of every tool. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** A tool that could not be run or failed. */
export class ToolError extends Error {
  override readonly name = 'ToolError';
  /** Exit status of the tool; absent when it did not exit by itself. */
  readonly exitStatus: number | undefined;
  /** `ETIMEDOUT`, `ENOBUFS` for too much output, or the error that prevented the start, such as `EACCES`. */
  readonly code: string | undefined;

  constructor(message: string, { exitStatus, code }: { exitStatus?: number; code?: string }) {
    super(message);
    this.exitStatus = exitStatus;
    this.code = code;
  }
}

/**
 * Runs a tool of the system and returns its standard output as UTF-8.
 *
 * Without a shell or input, and with a minimal environment: `LC_ALL=C` fixes the language of the output. After the time
 * limit, ten seconds by default, it is killed by SIGKILL.
 *
 * @param path full path, from `findTool`
 * @throws ToolError with the first line of its standard error; the signal's reason when it aborts
 */
export async function runTool(path: string, args: readonly string[], options: Options): Promise<string> {
  const { signal, maxBytes, limit = LIMIT, alsoFine = [], environment = {} } = options;
  signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    const child = execFile(
      path,
      [...args],
      {
        env: { ...environment, LC_ALL: 'C', PATH: FOLDERS.join(':') },
        cwd: '/',
        encoding: 'utf8',
        maxBuffer: maxBytes,
        timeout: limit,
        killSignal: 'SIGKILL',
        signal,
        windowsHide: true,
      },
      (error, stdout, stderr) => {
        if (signal.aborted) return reject(signal.reason);
        const status = typeof error?.code === 'number' ? error.code : undefined;
        if (error === null || (status !== undefined && alsoFine.includes(status))) return resolve(stdout);
        reject(toolError(path, error, status, stderr));
      },
    );
    if (child.pid !== undefined) rememberOwn(child.pid);
    child.stdin?.on('error', () => {}); // the tool may close its input at once
    child.stdin?.end();
  });
}

/** Characters of the standard error that are kept for the error. */
const MAX_ERROR_TEXT = 4_096;

/**
 * Like `runTool`, for output that is too long to be kept: passes it on while it arrives. Other work runs between the chunks.
 *
 * @param accept receives chunks of at most 64 KiB; the tool is killed when it throws
 * @throws like `runTool`, and what `accept` throws
 */
export async function streamTool(
  path: string,
  args: readonly string[],
  { signal, maxBytes, limit = LIMIT, environment = {} }: Omit<Options, 'alsoFine'>,
  accept: (chunk: Buffer) => void,
): Promise<void> {
  signal.throwIfAborted();
  const child = spawn(path, [...args], {
    env: { ...environment, LC_ALL: 'C', PATH: FOLDERS.join(':') },
    cwd: '/',
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: limit,
    killSignal: 'SIGKILL',
    signal,
    windowsHide: true,
  });
  if (child.pid !== undefined) rememberOwn(child.pid);
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    if (stderr.length < MAX_ERROR_TEXT) stderr += text;
  });
  let failure: Error | undefined;
  child.on('error', (error) => {
    failure = error;
  });
  const closed = new Promise<number | null>((resolve) => child.once('close', resolve));
  try {
    let bytes = 0;
    for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > maxBytes) throw new ToolError(`${path} produced too much output`, { code: 'ENOBUFS' });
      accept(chunk);
      await nextTurn();
    }
  } catch (error) {
    child.kill('SIGKILL');
    signal.throwIfAborted();
    throw error;
  }
  const status = await closed;
  signal.throwIfAborted();
  if (status === 0) return;
  const error = Object.assign(failure ?? new Error('it was killed'), { killed: child.killed });
  throw toolError(path, error, status === null || failure !== undefined ? undefined : status, stderr);
}

function toolError(
  path: string,
  error: Error & { killed?: boolean; code?: unknown },
  status: number | undefined,
  stderr: string,
): ToolError {
  const [firstLine = ''] = stderr.trim().split('\n', 1);
  const why = firstLine === '' ? '' : `: ${firstLine.slice(0, 200)}`;
  if (status !== undefined) return new ToolError(`${path} exited with status ${status}${why}`, { exitStatus: status });
  const code = errnoOf(error);
  if (code === 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER') {
    return new ToolError(`${path} produced too much output`, { code: 'ENOBUFS' });
  }
  if (error.killed === true) return new ToolError(`${path} timed out`, { code: 'ETIMEDOUT' });
  return new ToolError(`${path} could not be run: ${code ?? 'it was killed'}${why}`, {
    ...(code === undefined ? {} : { code }),
  });
}
