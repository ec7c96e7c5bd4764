import { type Clock, momentOf, wallOffset } from '../../../core/base/clock.ts';
import { type Duration, milliseconds } from '../../../core/base/duration.ts';

/** If the clocks' offset changes by more than this between two readings, the wall clock was set. */
const STEP_MS = 1_000;

/** Converts wall-clock times of records to the monotonic clock. */
export class WallTimes {
  readonly #clock: Pick<Clock, 'now' | 'monotonic'>;
  #offset: number;

  constructor(clock: Pick<Clock, 'now' | 'monotonic'>) {
    this.#clock = clock;
    this.#offset = wallOffset(momentOf(clock));
  }

  /** Call this whenever all records have been read, so that a clock that is set before the next ones is detected. */
  look(): void {
    this.#offset = wallOffset(momentOf(this.#clock));
  }

  /**
   * For a batch of records that has just been read.
   *
   * @returns a function that converts a record's time; the result is never in the future, and is the current time if
   *   the clock was set since the last `look`
   */
  reader(): (time: Date) => Duration {
    const moment = momentOf(this.#clock);
    const offset = wallOffset(moment);
    if (Math.abs(offset - this.#offset) > STEP_MS) return () => moment.monotonic;
    return (time) => milliseconds(Math.min(moment.monotonic, time.getTime() - offset));
  }
}
