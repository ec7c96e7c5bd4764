import type { Clock } from '../../core/base/clock.ts';
import { type Duration, minutes } from '../../core/base/duration.ts';
import type { Logger } from '../../core/base/log.ts';
import { TokenBucket } from '../../core/base/token-bucket.ts';

/** Calls of one method. Calling getStatus every second stays below this. */
const OF_ONE = { max: 30, perSecond: 3 };
const OF_ALL = { max: 60, perSecond: 6 };
/** Answers with status 429. Calls beyond this are not answered. */
const REFUSALS = { max: 30, perSecond: 3 };
/** Minimum interval between two log lines about refused calls. */
const LOG_INTERVAL = minutes(1);

/** Rate limit for direct method calls, so that a caller can't keep the device busy. */
export class CallLimit {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #all: TokenBucket;
  readonly #refusals: TokenBucket;
  readonly #each = new Map<string, TokenBucket>();
  #loggedAt: Duration | undefined;
  #refused = 0;
  #unanswered = 0;

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
    this.#all = new TokenBucket({ ...OF_ALL, clock });
    this.#refusals = new TokenBucket({ ...REFUSALS, clock });
  }

  /** @param name one of a fixed set, since each gets a bucket: callers pass one common name for unknown methods */
  admit(name: string): 'do' | 'refuse' | 'ignore' {
    this.#logCounts();
    const each = this.#each.get(name) ?? new TokenBucket({ ...OF_ONE, clock: this.#clock });
    this.#each.set(name, each);
    if (each.take() && this.#all.take()) return 'do';
    const isAnswered = this.#refusals.take();
    if (isAnswered) this.#refused += 1;
    else this.#unanswered += 1;
    this.#logCounts();
    return isAnswered ? 'refuse' : 'ignore';
  }

  /** Logs the first refusal at once, later ones at most once a minute; the remaining count is logged at a later call. */
  #logCounts(): void {
    const now = this.#clock.monotonic();
    if (this.#refused + this.#unanswered === 0) return;
    if (this.#loggedAt !== undefined && now - this.#loggedAt < LOG_INTERVAL) return;
    const counts = { refused: this.#refused, unanswered: this.#unanswered };
    this.#log.warn(counts, 'Direct methods are called too often; some calls were refused or not answered.');
    this.#loggedAt = now;
    this.#refused = 0;
    this.#unanswered = 0;
  }
}
