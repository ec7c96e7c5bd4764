import type { Clock } from './clock.ts';
import type { Duration } from './duration.ts';

/** How often an answer must have been looked for before a limit of time counts. */
const LEAST_LOOKS = 20;

/**
 * A limit of time for an answer that is looked for again and again.
 *
 * A process that was stopped, or got no processor, comes back when the limit has passed long ago and the answer may be there
 * since the first millisecond; and who was to answer may have stood still as well. So the limit counts only after some
 * looks in vain.
 */
export class AnswerLimit {
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #until: number;
  #looks = 0;

  constructor(clock: Pick<Clock, 'monotonic'>, limit: Duration) {
    this.#clock = clock;
    this.#until = clock.monotonic() + limit;
  }

  /** To be asked after each look in vain. */
  isOver(): boolean {
    this.#looks += 1;
    return this.#looks >= LEAST_LOOKS && this.#clock.monotonic() >= this.#until;
  }
}
