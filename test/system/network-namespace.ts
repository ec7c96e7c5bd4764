import { execFileSync } from 'node:child_process';
import { isAlive } from '../../src/agent/linux/audit/slot-watch.ts';

/** Names of namespaces end in the pid of the process they belong to. */
const PREFIX = 'vakt-test-';

/**
 * A network namespace, fresh, with nothing but a loopback interface in it, that is down. Needs root and iproute2.
 *
 * It goes when it is removed, at the latest when this process exits; what a killed one has left goes with the next.
 */
export class NetworkNamespace {
  static #made = 0;
  readonly name: string;
  readonly #atExit = () => this.remove();
  #removed = false;

  constructor() {
    removeLeftovers();
    NetworkNamespace.#made += 1;
    this.name = `${PREFIX}${NetworkNamespace.#made}-${process.pid}`;
    execFileSync('ip', ['netns', 'add', this.name]);
    process.once('exit', this.#atExit);
  }

  /** Runs a program in it, and returns what it writes. @throws when it fails, with what it complains about */
  run(program: string, args: readonly string[] = [], input = ''): string {
    return execFileSync('ip', ['netns', 'exec', this.name, program, ...args], {
      encoding: 'utf8',
      input,
      stdio: 'pipe',
      maxBuffer: 64 * 1024 * 1024,
      env: { ...process.env, LC_ALL: 'C' },
    });
  }

  /** Safe to call twice. */
  remove(): void {
    if (this.#removed) return;
    this.#removed = true;
    process.removeListener('exit', this.#atExit);
    execFileSync('ip', ['netns', 'delete', this.name]);
  }
}

function removeLeftovers(): void {
  for (const line of execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' }).split('\n')) {
    const [, name, pid] = /^(vakt-test-\d+-(\d+))(?: |$)/.exec(line) ?? [];
    if (name !== undefined && !isAlive(Number(pid))) execFileSync('ip', ['netns', 'delete', name]);
  }
}

/** Which of these tools isn't there, or why there can be no namespace; `undefined` when there can. */
export function missingForNamespace(...tools: string[]): string | undefined {
  if (process.getuid?.() !== 0) return 'this is not root';
  for (const tool of ['ip', ...tools]) {
    try {
      execFileSync(tool, ['--version'], { stdio: 'ignore' });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return `there is no ${tool}`;
    }
  }
  try {
    new NetworkNamespace().remove();
    return undefined;
  } catch (error) {
    return `no network namespace can be made: ${(error as Error).message.split('\n', 1)[0]}`;
  }
}
