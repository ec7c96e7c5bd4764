import { toAgentError } from './errors.ts';
import type { Logger } from './log.ts';

/**
 * Runs asynchronous work one piece at a time.
 *
 * Work on files has one lane, since each call on a hanging file system blocks one of libuv's few threads, which DNS
 * lookups also need. All work of a lane blocks at most one thread.
 */
export class Lane {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs `work` when all earlier work has settled, and settles as `work` does. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => {});
    return done;
  }

  /** Like `run`, but returns without waiting. An error is logged as an internal error, and later work still runs. */
  post(work: () => Promise<void> | void, log: Logger): void {
    void this.run(async () => {
      try {
        await work();
      } catch (error) {
        reportDefect(error, log);
      }
    });
  }

  /** Resolves when all work so far has settled. */
  async idle(): Promise<void> {
    await this.#last;
  }
}

function reportDefect(error: unknown, log: Logger): void {
  try {
    log.error({ err: toAgentError(error) }, 'Internal error; continuing.');
  } catch {
    // The log itself is broken: there is nowhere left to report it.
  }
}
