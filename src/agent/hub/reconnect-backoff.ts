import { fullJitter } from '../../core/base/backoff.ts';
import { type Duration, milliseconds, minutes, seconds } from '../../core/base/duration.ts';
import type { RetryCause } from '../../core/contract/hub.ts';

/** A hub counts failed logins, and alerts on a device that continues with them. */
const REFUSALS_BEFORE_LONG_WAIT = 3;
/** Delays from the third refusal in a row on; the last one repeats. A hub that was wrong for seconds costs a minute. */
const AFTER_REFUSALS = [minutes(1), minutes(2), minutes(5), minutes(10)] as const;
/** Part of such a delay that is added at random at most. */
const JITTER = 0.1;
const MAX_PER_MINUTE = 6;
/** One attempt is left for a changed credential, which must be used within 25 s (contract §1). */
const ORDINARY_PER_MINUTE = MAX_PER_MINUTE - 1;
/** A second longer than a minute: the hub's clock may run a little faster. */
const WINDOW = seconds(61);

/** A socket of a service on this device: asking costs nothing. */
const LOCAL = seconds(5);
/** A module that does not exist yet is asked for often in the first ten minutes. */
const ABSENCES_BEFORE_LONG_WAIT = 26;

/**
 * Delays between connection attempts (contract §6): exponential with full jitter, at most six attempts per minute for any
 * reason; 1, 2, 5 and then every 10 minutes from the third refusal of the credentials in a row.
 */
export class ReconnectBackoff {
  readonly #random: () => number;
  readonly #backoff;
  /** Monotonic times at which the latest attempts ended, or the last one began; oldest first. */
  readonly #attempts: Duration[] = [];
  #refusals = 0;
  /** Attempts in a row that found no module. */
  #absences = 0;

  constructor(random: () => number) {
    this.#random = random;
    this.#backoff = fullJitter({ first: seconds(2), max: minutes(1) }, random);
  }

  /** Call this at every attempt. */
  attempt(now: Duration): void {
    this.#attempts.push(now);
    if (this.#attempts.length > MAX_PER_MINUTE) this.#attempts.shift();
  }

  /**
   * Call this when the latest attempt has succeeded or failed. The hub saw it at some time until then, which was late if
   * this machine is busy; so the limit holds for the hub's view as well.
   */
  ended(now: Duration): void {
    if (this.#attempts.length > 0) this.#attempts[this.#attempts.length - 1] = now;
  }

  /** Takes back the latest attempt, which did not reach the hub. */
  forget(): void {
    this.#attempts.pop();
  }

  /** Call this after a failed attempt or a closed connection. */
  failed(cause: RetryCause | undefined): void {
    if (cause === 'credentials') this.#refusals += 1;
    this.#absences = cause === 'absent' ? this.#absences + 1 : 0;
  }

  /** The delay before the next attempt. */
  next(cause: RetryCause | undefined, now: Duration): Duration {
    if (cause === 'local') return LOCAL;
    if (cause === 'absent') {
      const delay = this.#absences <= ABSENCES_BEFORE_LONG_WAIT ? seconds(20) : minutes(5);
      return milliseconds(Math.round(delay + this.#random() * seconds(5)));
    }
    if (cause === 'credentials' && this.#refusals >= REFUSALS_BEFORE_LONG_WAIT) {
      const delay = AFTER_REFUSALS[this.#refusals - REFUSALS_BEFORE_LONG_WAIT] ?? AFTER_REFUSALS[3];
      return milliseconds(Math.round(delay * (1 + JITTER * this.#random())));
    }
    return milliseconds(Math.max(this.#backoff.next(), this.#delayLeft(now, ORDINARY_PER_MINUTE)));
  }

  /**
   * Whether an attempt may follow a failed one without a delay.
   *
   * @param cause why that one failed; it is not counted yet
   */
  mayRetryAtOnce(cause: RetryCause | undefined, now: Duration): boolean {
    const isLast = cause === 'credentials' && this.#refusals + 1 >= REFUSALS_BEFORE_LONG_WAIT;
    return !isLast && this.least(now) === 0;
  }

  /** The delay that every attempt must keep, whatever its reason. */
  least(now: Duration): Duration {
    return this.#delayLeft(now, MAX_PER_MINUTE);
  }

  /** Call this when the credentials were accepted, or changed. */
  accepted(): void {
    this.#refusals = 0;
  }

  /** Call this when a connection counts as stable. */
  stable(): void {
    this.#backoff.reset();
  }

  /** @returns the delay until there were fewer than `most` attempts in a minute */
  #delayLeft(now: Duration, most: number): Duration {
    const oldest = this.#attempts.at(-most);
    return milliseconds(oldest === undefined ? 0 : Math.max(0, oldest + WINDOW - now));
  }
}
