import type { Clock } from './clock.ts';
import { type Duration, milliseconds } from './duration.ts';

/** How long the event loop may be held up at a time. */
const LONGEST = milliseconds(5);

/** Cuts long work into turns, between which everybody else gets theirs. */
export class Turn {
  readonly #clock: Clock;
  #began: Duration;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#began = clock.monotonic();
  }

  /** Whether it has lasted long enough. Costs less than a tenth of a microsecond. */
  isOver(): boolean {
    return this.#clock.monotonic() - this.#began >= LONGEST;
  }

  /** Lets others go on, and begins the next one. */
  async next(): Promise<void> {
    await nextTurn();
    this.#began = this.#clock.monotonic();
  }
}

/** Lets others go on. */
export const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
