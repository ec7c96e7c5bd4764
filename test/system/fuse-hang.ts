import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { systemClock } from '../../src/core/base/clock.ts';
import { milliseconds, seconds } from '../../src/core/base/duration.ts';
import { suiteFolder } from '../harness/folders.ts';

const SOURCE = new URL('../../../test/system/native/fuse.c', import.meta.url).pathname;
/** A user id without an account. */
export const ATTACKER = 12_345;
/** With udev, every user may open /dev/fuse. The test creates its own such device: c 10 229, see fuse(4). */
const FUSE_DEVICE = ['c', '10', '229'];

/** Processes of an ordinary user that block every process that reads their command lines: native/fuse.c. */
export class FuseHang {
  static #binary: Buffer | undefined;
  readonly pids: readonly number[];
  readonly program: string;
  readonly #server: ChildProcess;

  private constructor(pids: readonly number[], program: string, server: ChildProcess) {
    this.pids = pids;
    this.program = program;
    this.#server = server;
  }

  /** Why this machine can't run it; `undefined` if it can. */
  static missing(): string | undefined {
    if (process.getuid?.() !== 0) return 'this is not root';
    if (!/^nodev\tfuse$/m.test(readFileSync('/proc/filesystems', 'latin1'))) return 'the kernel has no FUSE';
    if (!existsSync('/proc/self/ns/user')) return 'the kernel has no user namespaces';
    return compilers().length === 0 ? 'there is no C compiler' : undefined;
  }

  /** The path of native/fuse.c, compiled. */
  static program(): string {
    const path = join(suiteFolder(), 'fuse-hang');
    FuseHang.#binary ??= compile(path);
    writeFileSync(path, FuseHang.#binary, { mode: 0o755 });
    return path;
  }

  static async start(count: number): Promise<FuseHang> {
    const folder = suiteFolder();
    const [program, device, mount] = ['fuse-hang', 'fuse', 'mount'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    chmodSync(folder, 0o755);
    mkdirSync(mount, { mode: 0o755 });
    FuseHang.#binary ??= compile(program);
    writeFileSync(program, FuseHang.#binary, { mode: 0o755 });
    run('mknod', ['-m', '666', device, ...FUSE_DEVICE]);
    const asAttacker = [`--reuid=${ATTACKER}`, `--regid=${ATTACKER}`, '--clear-groups'];
    const args = [...asAttacker, program, 'hang', device, mount, String(count)];
    const server = spawn('setpriv', args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let complaint = '';
    server.stderr.setEncoding('utf8').on('data', (text: string) => {
      complaint += text;
    });
    const pids: number[] = [];
    for await (const line of createInterface({ input: server.stdout })) if (pids.push(Number(line)) === count) break;
    if (pids.length < count) throw new Error(`the processes do not hang: ${complaint}`);
    return new FuseHang(pids, program, server);
  }

  /** Whether all processes still hang. Their `stat` is readable. */
  get isHanging(): boolean {
    return this.pids.every((pid) => stateOf(pid) === 'D');
  }

  async end(): Promise<void> {
    this.#server.kill('SIGKILL');
    const deadline = systemClock.monotonic() + seconds(10);
    while (this.pids.some((pid) => stateOf(pid) === 'D') && systemClock.monotonic() < deadline) {
      await systemClock.sleep(milliseconds(10));
    }
  }
}

const compilers = (): string[] => ['cc', 'gcc', 'clang'].filter((name) => spawnSync(name, ['--version']).status === 0);

function compile(program: string): Buffer {
  run(compilers()[0] ?? 'cc', ['-O1', '-o', program, SOURCE]);
  return readFileSync(program);
}

function run(program: string, args: readonly string[]): void {
  const { status, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ended with ${status}: ${stderr}`);
}

/** The process state of proc_pid_stat(5); `undefined` if the process has exited. */
export function stateOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2)[0];
  } catch {
    return undefined;
  }
}
