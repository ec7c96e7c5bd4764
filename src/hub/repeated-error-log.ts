import type { Clock } from '../base/clock.ts';
import { type Duration, hours } from '../base/duration.ts';
import type { AgentError } from '../base/errors.ts';
import { type Logger, logError } from '../base/log.ts';

/** Logs an error once, again when its id changes, and at most hourly while it stays the same (contract §7). */
export class RepeatedErrorLog {
  readonly #clock: Clock;
  readonly #log: Logger;
  #last: { readonly id: string; readonly at: Duration } | undefined;

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
  }

  /** @returns whether it was logged */
  log(error: AgentError): boolean {
    const now = this.#clock.monotonic();
    if (this.#last?.id === error.id && now - this.#last.at < hours(1)) return false;
    this.#last = { id: error.id, at: now };
    logError(this.#log, error);
    return true;
  }

  /** To be called when the error is over: the next one is logged at once. */
  reset(): void {
    this.#last = undefined;
  }
}
