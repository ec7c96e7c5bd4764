import { type Duration, milliseconds } from '../../base/duration.ts';

/** Allows a number of things within any window of time, by the monotonic clock. */
export class RateLimit {
  readonly #most: number;
  readonly #window: Duration;
  /** When things were allowed, oldest first; at most as many as the limit. */
  #times: Duration[] = [];

  constructor(most: number, window: Duration) {
    this.#most = most;
    this.#window = window;
  }

  allows(now: Duration): boolean {
    this.#forget(now);
    return this.#times.length < this.#most;
  }

  use(now: Duration): void {
    this.#times.push(now);
  }

  /** Whether nothing was allowed within the window. */
  isIdle(now: Duration): boolean {
    this.#forget(now);
    return this.#times.length === 0;
  }

  /** How long ago each was, in milliseconds. */
  ages(now: Duration): number[] {
    this.#forget(now);
    return this.#times.map((time) => now - time);
  }

  restore(ages: readonly number[], now: Duration): void {
    this.#times = [...ages]
      .sort((a, b) => b - a)
      .slice(-this.#most)
      .map((age) => milliseconds(now - age));
  }

  #forget(now: Duration): void {
    const first = this.#times.findIndex((time) => now - time < this.#window);
    if (first !== 0) this.#times = first === -1 ? [] : this.#times.slice(first);
  }
}
