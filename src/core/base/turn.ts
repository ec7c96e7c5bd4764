import type { Clock } from './clock.ts';
import { type Duration, milliseconds } from './duration.ts';

/** How long the event loop may be blocked without a pause. */
const LONGEST_TURN = milliseconds(5);

/** Splits long work into turns, between which the event loop runs other work. */
export class Turn {
  readonly #clock: Clock;
  #began: Duration;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#began = clock.monotonic();
  }

  /** Whether `next` must be called. Costs less than 0.1 µs. */
  isOver(): boolean {
    return this.#clock.monotonic() - this.#began >= LONGEST_TURN;
  }

  /** Lets the event loop run other work, and begins the next turn. */
  async next(): Promise<void> {
    await nextTurn();
    this.#began = this.#clock.monotonic();
  }
}

/** Lets the event loop run other work. */
export const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
