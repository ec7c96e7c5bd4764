import { type Clock, isPlausible } from '../../../core/base/clock.ts';
import { type Duration, days, milliseconds } from '../../../core/base/duration.ts';

/** How far ahead the end may be. */
const LONGEST_SILENCE = days(7);

/** What was decided about a value of the setting. */
interface Decision {
  readonly until: string;
  /** By the monotonic clock; `undefined`: refused, or over. */
  readonly endsAt: Duration | undefined;
}

/**
 * No alerts for a limited time, for visits of a technician.
 *
 * A value is judged once, when it is first seen: one that is too far ahead stays refused, and does not begin to silence when
 * its end has come within seven days. While the agent runs, the monotonic clock ends the time, so that setting the clock cannot
 * make it longer.
 */
export class Silence {
  readonly #clock: Pick<Clock, 'now' | 'monotonic'>;
  readonly #decided: () => void;
  #decision: Decision = { until: '', endsAt: undefined };

  /** @param decided called when there is a decision to be saved: without it, a restart would judge the value once more */
  constructor(clock: Pick<Clock, 'now' | 'monotonic'>, decided: () => void = () => {}) {
    this.#clock = clock;
    this.#decided = decided;
  }

  /** @param until the value of the setting; empty: not silenced */
  isInForce(until: string): boolean {
    if (until !== this.#decision.until) {
      this.#decision = { until, endsAt: this.#endOf(until) };
      this.#decided();
    }
    const { endsAt } = this.#decision;
    return endsAt !== undefined && this.#clock.monotonic() < endsAt;
  }

  /**
   * Whether the setting has a value that was refused, because its end is more than seven days ahead or the clock is not set.
   */
  isRefused(until: string): boolean {
    const now = this.#clock.now();
    return !this.isInForce(until) && until !== '' && (!isPlausible(now) || Date.parse(until) > now.getTime());
  }

  toJson(): unknown {
    const { until, endsAt } = this.#decision;
    return { until, leftMs: endsAt === undefined ? 0 : Math.max(0, endsAt - this.#clock.monotonic()) };
  }

  /** The time left is the shorter one of what was left when it was saved, and of what the wall clock says. */
  restore(value: unknown): void {
    if (typeof value !== 'object' || value === null) return;
    const { until, leftMs } = value as Record<string, unknown>;
    if (typeof until !== 'string' || typeof leftMs !== 'number' || !(leftMs >= 0 && leftMs <= LONGEST_SILENCE)) return;
    const left = Math.min(leftMs, this.#left(until) ?? 0);
    this.#decision = { until, endsAt: left > 0 ? milliseconds(this.#clock.monotonic() + left) : undefined };
  }

  #endOf(until: string): Duration | undefined {
    const left = this.#left(until);
    if (left === undefined || left > LONGEST_SILENCE) return undefined;
    return milliseconds(this.#clock.monotonic() + left);
  }

  /** `undefined` when it is over, or the clock is not set. */
  #left(until: string): number | undefined {
    const now = this.#clock.now();
    const left = Date.parse(until) - now.getTime();
    return isPlausible(now) && left > 0 ? left : undefined;
  }
}
