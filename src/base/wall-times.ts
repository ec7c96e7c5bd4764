import { type Clock, momentOf, wallOffset } from './clock.ts';
import { type Duration, milliseconds } from './duration.ts';

/** A clock that differs by more from one look to the next has been set. */
const STEP_MS = 1_000;

/** Says when things happened, by the monotonic clock, whose records have times of the wall clock. */
export class WallTimes {
  readonly #clock: Pick<Clock, 'now' | 'monotonic'>;
  #offset: number;

  constructor(clock: Pick<Clock, 'now' | 'monotonic'>) {
    this.#clock = clock;
    this.#offset = wallOffset(momentOf(clock));
  }

  /** To be called whenever no record is left to be read: so a clock that is set before the next records is noticed. */
  look(): void {
    this.#offset = wallOffset(momentOf(this.#clock));
  }

  /**
   * For records that have just been read.
   *
   * @returns what takes a record's time; never later than now, and just now when the clock was set since the last look
   */
  reader(): (time: Date) => Duration {
    const moment = momentOf(this.#clock);
    const offset = wallOffset(moment);
    if (Math.abs(offset - this.#offset) > STEP_MS) return () => moment.monotonic;
    return (time) => milliseconds(Math.min(moment.monotonic, time.getTime() - offset));
  }
}
