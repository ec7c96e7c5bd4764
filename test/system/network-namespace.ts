import { execFileSync } from 'node:child_process';
import { isAlive } from '../../src/agent/linux/audit/slot-watch.ts';

/** Names of namespaces end with the pid of their process. */
const PREFIX = 'vakt-test-';

/**
 * A new network namespace that contains only a loopback interface, which is down. Needs root and iproute2.
 *
 * It is removed at the latest when this process exits; the next process removes the namespaces of a killed one.
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

  /** Runs a program in the namespace and returns its output. @throws Error with its error output if it fails */
  run(program: string, args: readonly string[] = [], input = ''): string {
    return execFileSync('ip', ['netns', 'exec', this.name, program, ...args], {
      encoding: 'utf8',
      input,
      stdio: 'pipe',
      maxBuffer: 64 * 1024 * 1024,
      env: { ...process.env, LC_ALL: 'C' },
    });
  }

  /** May be called twice. */
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

/** Returns the first missing tool, or why no namespace can be created; `undefined` if one can. */
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
