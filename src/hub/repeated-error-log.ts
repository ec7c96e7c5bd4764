import type { Clock } from '../base/clock.ts';
import { type Duration, hours, minutes } from '../base/duration.ts';
import type { AgentError } from '../base/errors.ts';
import { type Logger, logError } from '../base/log.ts';

/** Two errors that alternate, as those of two ports of a hub, are no news each time. */
const AGAIN_AFTER = minutes(10);

/**
 * Logs an error once, again when its id changes, and at most hourly while it stays the same (contract §7); each at most
 * every ten minutes.
 */
export class RepeatedErrorLog {
  readonly #clock: Clock;
  readonly #log: Logger;
  #last: string | undefined;
  /** When each was last logged, by id. */
  readonly #logged = new Map<string, Duration>();

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
  }

  /** @returns whether it was logged */
  log(error: AgentError): boolean {
    const now = this.#clock.monotonic();
    const pause = this.#last === error.id ? hours(1) : AGAIN_AFTER;
    this.#last = error.id;
    if (now - (this.#logged.get(error.id) ?? Number.NEGATIVE_INFINITY) < pause) return false;
    this.#logged.set(error.id, now);
    logError(this.#log, error);
    return true;
  }

  /** To be called when the error is over: the next one is logged at once. */
  reset(): void {
    this.#last = undefined;
    this.#logged.clear();
  }
}
