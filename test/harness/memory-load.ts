import { Worker } from 'node:worker_threads';

/**
 * Writes to more memory than a processor's caches hold, without end, at the lowest priority, so that CPU can be compared between
 * two times. On an idle machine, a process that wakes up rarely needs up to five times as much CPU for the same work,
 * and the factor varies. A loop that uses no memory doesn't change that, so the cause is probably that the clock of the
 * memory and of the shared cache is lowered.
 */
export class MemoryLoad {
  readonly #thread = new Worker(new URL('./memory-load-thread.js', import.meta.url));

  async end(): Promise<void> {
    await this.#thread.terminate();
  }
}
