import * as v from 'valibot';
import { type Clock, elapsedOf, isPlausible } from '../../core/base/clock.ts';
import { type Duration, days, hours, LONG_AGO, milliseconds } from '../../core/base/duration.ts';

/** Minimum time after which a new day renews the budget. */
const MIN_AGE = hours(12);
/** Once in this time the budget may be renewed earlier: the agent may have started just before midnight. */
const EARLY_EVERY = hours(24);
const DAY = days(1);
/** Time after which the budget is renewed whatever the wall clock shows; sooner if the clock is not set. */
const LONGEST_AGE: Readonly<Record<'set' | 'unset', Duration>> = { set: hours(36), unset: DAY };
/** Stands for the day while the clock has never been set. */
const NEVER_SET = 0;

/** The saved state of a day. */
export const KeptDay = {
  day: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  ageMs: v.pipe(v.number(), v.minValue(0)),
  sinceEarlyMs: v.pipe(v.number(), v.minValue(0)),
  savedAt: v.pipe(v.string(), v.isoTimestamp()),
};
type KeptDay = v.InferOutput<v.ObjectSchema<typeof KeptDay, undefined>>;

/**
 * The UTC day of a daily budget, and how much of it has passed.
 *
 * The wall clock may be stepped, by mistake or to get more budget. So a new day begins only after 12 h, except once in 24 h:
 * at most three days begin in a day, whatever the clock does. Time in which the device was suspended counts, and up to one day
 * in which the agent was not running. A clock stepped back does not begin a new day at once, and a clock that was years ahead
 * does not delay the next day for years. The part of the day that has passed is measured in elapsed time, so that a stepped
 * clock does not refill the budget either.
 */
export class BudgetDay {
  readonly #clock: Clock;
  /** Days since the epoch. */
  #day = NEVER_SET;
  /** When the day began, and when one last began early, in elapsed time; before its zero if that was in an earlier run. */
  #beganAt: Duration;
  #earlyAt = LONG_AGO;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#beganAt = elapsedOf(clock);
  }

  /** The part of the day that has passed, 0 to 1. */
  get passed(): number {
    return Math.min(1, Math.max(0, (elapsedOf(this.#clock) - this.#beganAt) / DAY));
  }

  /** When `part` of the day will have passed; at the latest the next midnight, UTC. */
  timeOf(part: number): Date {
    const now = this.#clock.now().getTime();
    const midnight = (Math.floor(now / DAY) + 1) * DAY;
    return new Date(Math.min(midnight, now + Math.ceil(Math.max(0, part - this.passed) * DAY)));
  }

  /** Begins a new day if one is due. @returns whether it did */
  renew(): boolean {
    const now = this.#clock.now();
    const isSet = isPlausible(now);
    const today = isSet ? Math.floor(now.getTime() / DAY) : this.#day;
    if (this.#day === NEVER_SET) this.#day = today;
    const elapsed = elapsedOf(this.#clock);
    const age = elapsed - this.#beganAt;
    if (age < LONGEST_AGE[isSet ? 'set' : 'unset']) {
      if (today === this.#day) return false;
      const mayBeEarly = today > this.#day && elapsed - this.#earlyAt >= EARLY_EVERY;
      if (age < MIN_AGE && !mayBeEarly) return false;
      if (age < MIN_AGE) this.#earlyAt = elapsed;
    }
    this.#day = today;
    this.#beganAt = elapsed;
    return true;
  }

  toJson(): KeptDay {
    const elapsed = elapsedOf(this.#clock);
    return {
      day: this.#day,
      ageMs: Math.round(elapsed - this.#beganAt),
      sinceEarlyMs: Math.min(Math.round(elapsed - this.#earlyAt), EARLY_EVERY),
      savedAt: this.#clock.now().toISOString(),
    };
  }

  restore({ day, ageMs, sinceEarlyMs, savedAt }: KeptDay): void {
    const elapsed = elapsedOf(this.#clock);
    const away = Math.min(DAY, Math.max(0, this.#clock.now().getTime() - Date.parse(savedAt)));
    this.#day = day;
    this.#beganAt = milliseconds(elapsed - ageMs - away);
    this.#earlyAt = milliseconds(elapsed - sinceEarlyMs - away);
  }
}
