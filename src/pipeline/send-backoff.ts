import { type Backoff, fullJitter } from '../base/backoff.ts';
import type { Clock } from '../base/clock.ts';
import { type Duration, hours, milliseconds, minutes, seconds } from '../base/duration.ts';
import type { Retry, RetryCause } from '../contract/hub.ts';

/** Over so long a fleet spreads that waits for the same midnight. */
const SPREAD = minutes(30);
/** So long after midnight the hub's day may not have begun yet. */
const CLOCKS_DIFFER = hours(1);
const LONGEST_DAY = hours(24);
/** Message after message without an answer, with a new connection each time: it may be the messages that end it. */
const HASTE_UP_TO = 1;

/** When to try again after a failure, by its cause (contract §6). */
export class SendBackoff {
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #backoffs: Readonly<Record<Exclude<RetryCause, 'quota'>, Backoff>>;
  #cause: RetryCause | undefined;
  #notBefore = milliseconds(0);
  /** By the wall clock, which may be set meanwhile. */
  #quotaUntil = 0;
  /** Messages in a row that were never answered. */
  #unanswered = 0;

  constructor(clock: Clock, random: () => number = Math.random) {
    this.#clock = clock;
    this.#random = random;
    const jitter = (atLeast: Duration, first: Duration, most: Duration) => fullJitter({ atLeast, first, most }, random);
    this.#backoffs = {
      network: jitter(seconds(10), seconds(20), minutes(5)), // at most 6 attempts a minute
      throttled: jitter(seconds(1), seconds(10), minutes(10)),
      credentials: jitter(minutes(10), minutes(10), minutes(10)),
    };
  }

  /** How long nothing may be tried; zero or less: not at all. To be asked again within the hour. */
  get left(): Duration {
    const left = this.#notBefore - this.#clock.monotonic();
    const quotaLeft = this.#quotaUntil - this.#clock.now().getTime();
    return milliseconds(this.#cause === 'quota' ? Math.min(left, quotaLeft) : left);
  }

  /** @returns how long to wait now */
  failed({ because, after, unanswered }: Retry): Duration {
    this.#cause = because;
    if (unanswered) this.#unanswered += 1;
    const wait = because === 'quota' ? this.#untilQuotaEnds() : this.#backoffs[because].next();
    this.#notBefore = milliseconds(this.#clock.monotonic() + Math.max(wait, after ?? 0));
    return this.left;
  }

  succeeded(): void {
    this.#unanswered = 0;
    for (const backoff of Object.values(this.#backoffs)) backoff.reset();
  }

  /**
   * There is a new connection: worth a try at once, unless the hub had asked for patience (a new connection doesn't help
   * a busy one), or takes connections and no messages.
   */
  reconnected(): void {
    const hubsOwn = this.#cause === 'throttled' || this.#cause === 'quota';
    if (!hubsOwn && this.#unanswered <= HASTE_UP_TO) this.#notBefore = milliseconds(0);
  }

  /** Until the next UTC day, and a bit, by the wall clock; but no longer than a day, wherever that clock goes. */
  #untilQuotaEnds(): Duration {
    const now = this.#clock.now().getTime();
    const today = Math.floor(now / LONGEST_DAY) * LONGEST_DAY;
    const next = now - today < CLOCKS_DIFFER ? today + CLOCKS_DIFFER : today + LONGEST_DAY;
    this.#quotaUntil = next + this.#random() * SPREAD;
    return milliseconds(Math.min(this.#quotaUntil - now, LONGEST_DAY));
  }
}
