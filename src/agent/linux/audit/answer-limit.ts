import type { Clock } from '../../../core/base/clock.ts';
import type { Duration } from '../../../core/base/duration.ts';

/** Polls without an answer that are needed before the time limit counts. */
const MIN_LOOKS = 20;

/**
 * A time limit for an answer that is polled for.
 *
 * A process that was stopped or starved of CPU resumes after the limit has passed, although the answer may have arrived
 * within a millisecond; the peer may have been stopped as well. So the limit counts only after a minimum number of
 * polls.
 */
export class AnswerLimit {
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #until: number;
  #looks = 0;

  constructor(clock: Pick<Clock, 'monotonic'>, limit: Duration) {
    this.#clock = clock;
    this.#until = clock.monotonic() + limit;
  }

  /** Call this after each poll without an answer. */
  isOver(): boolean {
    this.#looks += 1;
    return this.#looks >= MIN_LOOKS && this.#clock.monotonic() >= this.#until;
  }
}
