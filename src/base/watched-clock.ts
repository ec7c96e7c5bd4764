import type { Clock, Stall } from './clock.ts';
import type { Duration } from './duration.ts';

/** Something that must never stand still for long, if it is to be of any use. */
export interface Moving {
  /** When it moved last, by the monotonic clock; now, as long as it rests by its own will. */
  lastMoved(): Duration;
}

/**
 * The clock of one part of the agent, which shows whether that part still moves.
 *
 * Every loop here does some work and then sleeps by its clock. A part that sleeps rests, for however long: its timer
 * will wake it, or the event loop itself stands still, which others notice. A part that neither sleeps, nor begins or
 * ends anything by its clock, works; and no work takes as long as forever. Nothing that must be waited for by the hour
 * looks hung by this, and a machine that was suspended doesn't, since the monotonic clock stands still meanwhile.
 *
 * A part that hasn't begun yet has nothing to show, and counts as resting. That others ask a part's clock for the time, as
 * by putting an event into a queue, doesn't count.
 */
export class WatchedClock implements Clock, Moving {
  readonly #clock: Clock;
  #sleepers = 0;
  #lastMoved: Duration | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  lastMoved(): Duration {
    return this.#sleepers > 0 || this.#lastMoved === undefined ? this.monotonic() : this.#lastMoved;
  }

  /** To be called by a loop that may have so much to do that it doesn't sleep between two turns. */
  moves(): void {
    this.#lastMoved = this.monotonic();
  }

  now(): Date {
    return this.#clock.now();
  }

  monotonic(): Duration {
    return this.#clock.monotonic();
  }

  lastStall(): Stall | undefined {
    return this.#clock.lastStall?.();
  }

  fromKernel(nanoseconds: bigint | number): Date {
    return this.#clock.fromKernel(nanoseconds);
  }

  async sleep(wait: Duration, signal?: AbortSignal): Promise<void> {
    this.#sleepers += 1;
    await this.#clock.sleep(wait, signal);
    this.#sleepers -= 1;
    this.moves();
  }

  async within<T>(limit: Duration, what: string, work: Promise<T>): Promise<T> {
    this.moves();
    try {
      return await this.#clock.within(limit, what, work);
    } finally {
      this.moves();
    }
  }
}
