import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { cpuOf } from './measure.ts';

const PROGRAM = fileURLToPath(new URL('./cpu-peer-process.js', import.meta.url));

/**
 * A Node process that runs as long as the agent, is woken up with it, and always does the same work. If the cost of
 * both rises, the cause is the machine, whose memory and caches are shared with other guests of its host.
 */
export class CpuPeer {
  readonly #process: ChildProcess;

  private constructor(process: ChildProcess) {
    this.#process = process;
  }

  static async start(): Promise<CpuPeer> {
    const process = fork(PROGRAM);
    await once(process, 'message');
    return new CpuPeer(process);
  }

  /** Makes it read this number of records. */
  wake(records: number): void {
    this.#process.send(records);
  }

  /** CPU so far, in ms. */
  get cpu(): number {
    return cpuOf(this.#process.pid ?? 0);
  }

  end(): void {
    if (this.#process.connected) this.#process.disconnect();
  }
}
