import type { Logger } from './log.ts';
import type { Service } from './service.ts';

/**
 * What nobody caught: a defect of ours. Before start-up has finished it ends the run, since nobody knows what is
 * missing. After that the agent never crashes: a defect is logged as one, and costs only itself.
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
    this.#duringStart.catch(() => {}); // it may come while no service is starting; the next one fails of it
  }

  /** Takes what nobody caught. Never throws: nobody would catch that either. */
  readonly take = (thrown: unknown): void => {
    const endStart = this.#endStart;
    this.#endStart = undefined;
    if (endStart !== undefined) {
      endStart(thrown);
      return;
    }
    try {
      this.#log.error({ err: thrown, id: 'INTERNAL' }, 'Caught a defect; the agent goes on.');
    } catch {
      // The log is the last one to tell.
    }
  };

  /** The same services, but whichever is starting when something isn't caught can't start, for that reason. */
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
    // A defect that has been taken already ends the start, and it alone.
    if (this.#endStart === undefined) await this.#duringStart;
    this.#endStart = undefined;
  }
}
