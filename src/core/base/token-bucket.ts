import type { Clock } from './clock.ts';
import { type Duration, milliseconds, seconds } from './duration.ts';

/** Rate limit: allows bursts of `max`, and `perSecond` on average. */
export class TokenBucket {
  readonly #clock: Clock;
  readonly #max: number;
  readonly #perSecond: number;
  #tokens: number;
  #at: Duration;

  constructor({ max, perSecond, clock }: { max: number; perSecond: number; clock: Clock }) {
    this.#clock = clock;
    this.#max = max;
    this.#perSecond = perSecond;
    this.#tokens = max;
    this.#at = clock.monotonic();
  }

  /** Takes the tokens if all are available. */
  take(tokens = 1): boolean {
    this.#fill();
    if (this.#tokens < tokens) return false;
    this.#tokens -= tokens;
    return true;
  }

  /** Takes tokens in advance. @returns how long the caller must wait until they are available */
  borrow(tokens = 1): Duration {
    const wait = this.wait(tokens);
    this.#tokens -= tokens;
    return wait;
  }

  /** How long it takes until the tokens are available, if no other caller takes any before. */
  wait(tokens = 1): Duration {
    this.#fill();
    return milliseconds(Math.max(0, ((tokens - this.#tokens) / this.#perSecond) * seconds(1)));
  }

  #fill(): void {
    const now = this.#clock.monotonic();
    const gained = ((now - this.#at) / seconds(1)) * this.#perSecond;
    this.#tokens = Math.min(this.#max, this.#tokens + gained);
    this.#at = now;
  }
}
