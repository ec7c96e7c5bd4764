import type { Clock } from '../../core/base/clock.ts';
import { type Duration, milliseconds } from '../../core/base/duration.ts';

/** A time budget: a share of all time, which can be saved up to a maximum for bursts. */
export class TimeBudget {
  readonly #clock: Clock;
  readonly #share: number;
  readonly #max: Duration;
  #left: number;
  #filledAt: Duration;

  /**
   * @param share of all time, between 0 and 1
   * @param max the maximum that is saved up; available at the start
   */
  constructor(clock: Clock, share: number, max: Duration) {
    this.#clock = clock;
    this.#share = share;
    this.#max = max;
    this.#left = max;
    this.#filledAt = clock.monotonic();
  }

  /** The time available; negative when the last work exceeded it. */
  left(): Duration {
    const now = this.#clock.monotonic();
    this.#left = Math.min(this.#max, this.#left + (now - this.#filledAt) * this.#share);
    this.#filledAt = now;
    return milliseconds(this.#left);
  }

  /** How long to wait until this much time is available. */
  delayFor(wanted: Duration): Duration {
    return milliseconds(Math.max(0, (wanted - this.left()) / this.#share));
  }

  /** Deducts the time since `since`. @returns the current time */
  pay(since: Duration): Duration {
    const now = this.#clock.monotonic();
    this.#left -= now - since;
    return now;
  }
}
