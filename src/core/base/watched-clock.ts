import type { Clock, Stall } from './clock.ts';
import type { Duration } from './duration.ts';

/** A part that must make progress. */
export interface Moving {
  /** When it last made progress, by the monotonic clock; the current time while it sleeps. */
  lastMoved(): Duration;
}

/**
 * The clock of one part of the agent, which shows whether that part makes progress.
 *
 * Every loop of the agent works and then sleeps by its clock. A sleeping part counts as alive, however long it sleeps:
 * its timer will wake it, unless the event loop itself is blocked, which the watchdog detects. A part counts as hung if
 * for a long time it neither sleeps nor starts or ends an operation with a time limit. Suspending the machine doesn't
 * count, since the monotonic clock does not advance while it is suspended.
 *
 * A part that hasn't started yet counts as sleeping. Reading the time doesn't count as progress, since other parts also
 * do that, for example when they put an event into the part's queue.
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

  /** Records progress. A loop that may not sleep between two turns must call this. */
  moves(): void {
    this.#lastMoved = this.monotonic();
  }

  now(): Date {
    return this.#clock.now();
  }

  monotonic(): Duration {
    return this.#clock.monotonic();
  }

  sinceBoot(): Duration | undefined {
    return this.#clock.sinceBoot?.();
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
