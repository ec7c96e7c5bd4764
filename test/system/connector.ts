import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { suiteFolder } from '../harness/folders.ts';

const SOURCE = new URL('../../../test/system/native/connections.c', import.meta.url).pathname;

/** One end of a connection, as reported by the program that opened it. */
export interface MadeEnd {
  readonly direction: 'In' | 'Out';
  readonly protocol: 'TCP' | 'UDP';
  readonly address: string;
  readonly remotePort: number;
  readonly localPort: number;
  readonly kind: string;
}

/** A program that opens connections to itself: native/connections.c, compiled for a test. */
export class Connector {
  readonly path: string | undefined;
  readonly #folder = suiteFolder();
  readonly #running = new Set<ChildProcess>();

  constructor() {
    const compiler = ['cc', 'gcc', 'clang'].find((name) => spawnSync(name, ['--version']).status === 0);
    if (compiler === undefined) return;
    const program = join(this.#folder, 'connections');
    if (spawnSync(compiler, ['-O2', '-o', program, SOURCE]).status === 0) this.path = program;
  }

  /**
   * Opens `count` connections of each kind.
   *
   * @param within the command that starts it, such as `ip netns exec NAME`
   * @returns once all are open; held connections stay open until `release`
   */
  async make(
    count: number,
    kinds: readonly string[],
    { hold = false, within = [] }: { hold?: boolean; within?: readonly string[] } = {},
  ): Promise<{ readonly pid: number; readonly ends: readonly MadeEnd[]; release(): Promise<void> }> {
    const [command = '', ...args] = [...within, this.path ?? '', String(count), hold ? '1' : '0', ...kinds];
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#running.add(child);
    const exit = once(child, 'exit').finally(() => this.#running.delete(child));
    let output = '';
    for await (const chunk of child.stdout) {
      output += chunk;
      if (output.endsWith('end\n')) break;
    }
    if (!output.endsWith('end\n')) throw new Error(`the connector failed: ${output.slice(-200)}`);
    return {
      pid: child.pid ?? 0,
      ends: output.split('\n').slice(0, -2).map(endOf),
      async release() {
        child.stdin.end();
        await exit;
      },
    };
  }

  remove(): void {
    for (const child of this.#running) child.kill('SIGKILL');
  }
}

function endOf(line: string): MadeEnd {
  const [direction, protocol, address = '', remotePort, localPort, kind = ''] = line.split(' ');
  return {
    direction: direction as MadeEnd['direction'],
    protocol: protocol as MadeEnd['protocol'],
    address,
    remotePort: Number(remotePort),
    localPort: Number(localPort),
    kind,
  };
}
