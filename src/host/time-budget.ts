import type { Clock } from '../base/clock.ts';
import { type Duration, milliseconds } from '../base/duration.ts';

/** A share of the time, with some of it saved up for when much comes at once. */
export class TimeBudget {
  readonly #clock: Clock;
  readonly #share: number;
  readonly #most: Duration;
  #left: number;
  #filledAt: Duration;

  /**
   * @param share of all time, between 0 and 1
   * @param most what is saved up at most, and there at the beginning
   */
  constructor(clock: Clock, share: number, most: Duration) {
    this.#clock = clock;
    this.#share = share;
    this.#most = most;
    this.#left = most;
    this.#filledAt = clock.monotonic();
  }

  /** Negative when the last work took longer than there was time for. */
  left(): Duration {
    const now = this.#clock.monotonic();
    this.#left = Math.min(this.#most, this.#left + (now - this.#filledAt) * this.#share);
    this.#filledAt = now;
    return milliseconds(this.#left);
  }

  /** How long to wait until that much is there. */
  untilThereIs(wanted: Duration): Duration {
    return milliseconds(Math.max(0, (wanted - this.left()) / this.#share));
  }

  /** Pays for what has been done since then. @returns the time it is now */
  pay(since: Duration): Duration {
    const now = this.#clock.monotonic();
    this.#left -= now - since;
    return now;
  }
}
