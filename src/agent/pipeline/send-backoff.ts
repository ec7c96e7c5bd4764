import { type Backoff, fullJitter } from '../../core/base/backoff.ts';
import type { Clock } from '../../core/base/clock.ts';
import { type Duration, hours, milliseconds, minutes, seconds } from '../../core/base/duration.ts';
import type { Retry, RetryCause } from '../../core/contract/hub.ts';

/** Jitter, so that a fleet doesn't return at midnight together. */
const SPREAD = minutes(30);
/** Allowance for the difference between the device's clock and the hub's, when waiting for the hub's next day. */
const CLOCKS_DIFFER = hours(1);
const LONGEST_DAY = hours(24);
/**
 * With more unanswered messages in a row, a new connection doesn't end the back-off: the messages may be what closes
 * the connections.
 */
const UNANSWERED_FOR_FAST_RETRY = 1;

/** Decides when to retry after a failure, by its cause (contract §6). */
export class SendBackoff {
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #backoffs: Readonly<Record<Exclude<RetryCause, 'quota'>, Backoff>>;
  #cause: RetryCause | undefined;
  #notBefore = milliseconds(0);
  /** Milliseconds since the epoch. Wall clock, which may be set in the meantime. */
  #quotaUntil = 0;
  /** Consecutive unanswered messages. */
  #unanswered = 0;
  /** The hub of the latest connection. */
  #hub: string | undefined;

  constructor(clock: Clock, random: () => number = Math.random) {
    this.#clock = clock;
    this.#random = random;
    const jitter = (atLeast: Duration, first: Duration, most: Duration) =>
      fullJitter({ atLeast, first, max: most }, random);
    const network = jitter(seconds(10), seconds(20), minutes(5)); // at most 6 attempts a minute
    this.#backoffs = {
      network,
      absent: network,
      local: network,
      throttled: jitter(seconds(1), seconds(10), minutes(10)),
      credentials: jitter(minutes(10), minutes(10), minutes(10)),
    };
  }

  /** Time until the next attempt; zero or less: now. Must be read again at least hourly, since the clock may be set. */
  get left(): Duration {
    const left = this.#notBefore - this.#clock.monotonic();
    const quotaLeft = this.#quotaUntil - this.#clock.now().getTime();
    return milliseconds(this.#cause === 'quota' ? Math.min(left, quotaLeft) : left);
  }

  /** @returns the delay before the next attempt */
  failed({ retryCause, after, unanswered }: Retry): Duration {
    this.#cause = retryCause;
    if (unanswered) this.#unanswered += 1;
    const wait = retryCause === 'quota' ? this.#untilQuotaEnds() : this.#backoffs[retryCause].next();
    this.#notBefore = milliseconds(this.#clock.monotonic() + Math.max(wait, after ?? 0));
    return this.left;
  }

  succeeded(): void {
    this.#unanswered = 0;
    for (const backoff of Object.values(this.#backoffs)) backoff.reset();
  }

  /**
   * Ends the back-off when the hub client has reconnected; not if the hub throttles or its quota is used up, nor if it
   * accepts connections but does not acknowledge messages, unless the agent has moved to another hub.
   */
  reconnected(hub: string | undefined): void {
    const hasMoved = this.#hub !== undefined && hub !== this.#hub;
    this.#hub = hub;
    const isHubsLimit = this.#cause === 'throttled' || this.#cause === 'quota';
    if (hasMoved || (!isHubsLimit && this.#unanswered <= UNANSWERED_FOR_FAST_RETRY)) this.#notBefore = milliseconds(0);
  }

  /** Ends the back-off when the hub accepts requests again, if it was its quota that was used up. */
  quotaRenewed(): void {
    if (this.#cause === 'quota') this.#notBefore = milliseconds(0);
  }

  /** Time until the next UTC day by the wall clock, plus jitter; at most a day, in case the clock is stepped. */
  #untilQuotaEnds(): Duration {
    const now = this.#clock.now().getTime();
    const today = Math.floor(now / LONGEST_DAY) * LONGEST_DAY;
    const next = now - today < CLOCKS_DIFFER ? today + CLOCKS_DIFFER : today + LONGEST_DAY;
    this.#quotaUntil = next + this.#random() * SPREAD;
    return milliseconds(Math.min(this.#quotaUntil - now, LONGEST_DAY));
  }
}
