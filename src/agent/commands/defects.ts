import type { Logger } from '../../core/base/log.ts';
import type { Service } from '../../core/base/service.ts';

/**
 * Handles uncaught exceptions, which are defects of the agent. During start-up they end the run, since the agent may be
 * incomplete. Afterwards they are logged and the agent continues.
 */
export class Defects {
  readonly #log: Logger;
  readonly #duringStart: Promise<never>;
  #endStart: ((thrown: unknown) => void) | undefined;

  constructor(log: Logger) {
    this.#log = log;
    this.#duringStart = new Promise((_, reject) => {
      this.#endStart = reject;
    });
    this.#duringStart.catch(() => {}); // it may reject while no service is starting; the next one then fails
  }

  /** Handles an uncaught exception. Never throws. */
  readonly take = (thrown: unknown): void => {
    const endStart = this.#endStart;
    this.#endStart = undefined;
    if (endStart !== undefined) {
      endStart(thrown);
      return;
    }
    try {
      this.#log.error({ err: thrown, id: 'INTERNAL' }, 'Uncaught exception; continuing.');
    } catch {
      // The log itself is broken: there is nowhere left to report it.
    }
  };

  /** Wraps services so that the start of one rejects with any exception that is uncaught in the meantime. */
  guard(services: readonly Service[]): Service[] {
    const guarded = services.map((service) => ({
      name: service.name,
      start: () => Promise.race([service.start(), this.#duringStart]),
      stop: () => service.stop(),
    }));
    const started: Service = {
      name: 'start-up',
      start: () => Promise.race([this.#startHasFinished(), this.#duringStart]),
      stop: async () => {},
    };
    return [...guarded, started];
  }

  async #startHasFinished(): Promise<void> {
    // An exception that was handled already rejects #duringStart.
    if (this.#endStart === undefined) await this.#duringStart;
    this.#endStart = undefined;
  }
}
