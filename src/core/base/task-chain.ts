import { toAgentError } from './errors.ts';
import type { Logger } from './log.ts';

/**
 * Runs tasks one after another. A task that throws is logged as an internal error, and the next one runs: one
 * defect must not silence everything that is queued behind it.
 */
export class TaskChain {
  readonly #log: Logger;
  #last: Promise<void> = Promise.resolve();

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Runs it when all earlier tasks have ended. */
  run(task: () => Promise<void> | void): void {
    this.#last = this.#last.then(task).catch((error: unknown) => this.#report(error));
  }

  /** Resolves when every task so far has ended. Never rejects. */
  async settled(): Promise<void> {
    await this.#last;
  }

  #report(error: unknown): void {
    try {
      this.#log.error({ err: toAgentError(error) }, 'Internal error; continuing.');
    } catch {
      // The log itself is broken: there is nowhere left to report it.
    }
  }
}
