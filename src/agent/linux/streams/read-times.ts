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

/** Up to which times the feeds were read, by the monotonic clock. */
export class ReadTimes {
  readonly #clock: Clock;
  readonly #hasStarts: () => boolean;
  readonly #wall: WallTimes;
  #starts: Duration;
  #settled: Duration;
  #exitsSince: Duration;
  #last: Duration;

  /** @param hasStarts whether a feed reports starts, or is about to be opened; otherwise the current time is returned */
  constructor(clock: Clock, hasStarts: () => boolean) {
    this.#clock = clock;
    this.#hasStarts = hasStarts;
    this.#wall = new WallTimes(clock);
    this.#starts = clock.monotonic();
    this.#settled = this.#starts;
    this.#exitsSince = this.#starts;
    this.#last = this.#starts;
  }

  /** All starts up to this time were read. If no feed reports starts, the current time. */
  startsRead(): Duration {
    return this.#hasStarts() ? this.#starts : this.#clock.monotonic();
  }

  /** All lost starts up to this time are known. If no feed reports starts, the current time. */
  startsSettled(): Duration {
    return this.#hasStarts() ? this.#settled : this.#clock.monotonic();
  }

  /** Like `startsSettled`, even if no feed reports starts. */
  get lastSettled(): Duration {
    return this.#settled;
  }

  /** When the feed was last read, even if nothing was found. */
  get last(): Duration {
    return this.#last;
  }

  /** Exits are received from `since` on: processes that started earlier may have exited unnoticed. */
  listenToExits(since: Duration): void {
    this.#exitsSince = since;
  }

  /** @returns for a batch of records that has just been read: whether exits were received at a record's time */
  receivedExits(): (time: Date) => boolean {
    const timeOf = this.#wall.reader();
    return (time) => timeOf(time) >= this.#exitsSince;
  }

  /** See `WallTimes.reader`. */
  reader(): (time: Date) => Duration {
    return this.#wall.reader();
  }

  /** Call this whenever something was read. */
  read(): void {
    this.#last = this.#clock.monotonic();
  }

  /** Everything up to `until` was read and delivered. */
  drained(until: Duration): void {
    this.#wall.look();
    this.#starts = until;
    this.read();
  }

  /** All lost starts up to `until` are known. */
  settled(until: Duration): void {
    this.#settled = until;
  }
}
