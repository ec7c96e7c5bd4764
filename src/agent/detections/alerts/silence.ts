import { type Clock, isPlausible } from '../../../core/base/clock.ts';
import { type Duration, days, milliseconds } from '../../../core/base/duration.ts';

/** Maximum time until the end of a silence. */
const LONGEST_SILENCE = days(7);

/** The decision about a value of the setting. */
interface Decision {
  readonly until: string;
  /** On the monotonic clock; `undefined` if rejected or expired. */
  readonly endsAt: Duration | undefined;
}

/**
 * Suppresses alerts for a limited time, for example while a technician is on site.
 *
 * A value is checked once, when it is first seen. If it is too far ahead it stays rejected, even when its end comes within seven
 * days. While the agent runs, the monotonic clock limits the time, so that setting the clock cannot extend it.
 */
export class Silence {
  readonly #clock: Pick<Clock, 'now' | 'monotonic'>;
  readonly #decided: () => void;
  #decision: Decision = { until: '', endsAt: undefined };

  /** @param decided called when a decision has to be saved; otherwise a restart would check the value again */
  constructor(clock: Pick<Clock, 'now' | 'monotonic'>, decided: () => void = () => {}) {
    this.#clock = clock;
    this.#decided = decided;
  }

  /** @param until the value of the setting; not silenced if empty */
  isInForce(until: string): boolean {
    if (until !== this.#decision.until) {
      this.#decision = { until, endsAt: this.#endOf(until) };
      this.#decided();
    }
    const { endsAt } = this.#decision;
    return endsAt !== undefined && this.#clock.monotonic() < endsAt;
  }

  /**
   * Whether the value of the setting was rejected, because its end is more than seven days ahead or the clock is not set.
   */
  isRefused(until: string): boolean {
    const now = this.#clock.now();
    return !this.isInForce(until) && until !== '' && (!isPlausible(now) || Date.parse(until) > now.getTime());
  }

  toJson(): unknown {
    const { until, endsAt } = this.#decision;
    return { until, leftMs: endsAt === undefined ? 0 : Math.max(0, endsAt - this.#clock.monotonic()) };
  }

  /** The remaining time is the shorter of the saved one and the one by the wall clock. */
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

  /** `undefined` if the time has passed or the clock is not set. */
  #left(until: string): number | undefined {
    const now = this.#clock.now();
    const left = Date.parse(until) - now.getTime();
    return isPlausible(now) && left > 0 ? left : undefined;
  }
}
