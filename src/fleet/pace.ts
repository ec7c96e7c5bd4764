import type { Clock } from '../core/base/clock.ts';
import { type Duration, milliseconds, minutes, seconds } from '../core/base/duration.ts';
import { AgentError } from '../core/base/errors.ts';
import { untilAborted } from '../core/network/limited.ts';
import { ProxyError } from '../core/network/tunnel.ts';
import { AT_ONCE } from './hub-agent.ts';
import { failureOf, type ServiceFailure } from './service-failure.ts';

/** Maximum number of attempts of a request that gets no answer or 5xx. */
const ATTEMPTS = 5;
const SHORTEST_WAIT = seconds(1);
const LONGEST_WAIT = seconds(60);
/** A hub that throttles one request for longer than this has no capacity for the command. */
const PATIENCE = minutes(15);

/** Which requests are repeated after a failure. */
export type Repeats = 'all' | 'throttled';

/** Numbers of requests and their results. */
export interface PaceCounts {
  readonly requests: number;
  readonly throttled: number;
  readonly repeated: number;
}

/**
 * Keeps requests within the hub's limits: five at a time. When the hub throttles one (429), all wait for Retry-After or with
 * growing delays. Requests without an answer are repeated.
 */
export class Pace {
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  readonly #random: () => number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  /** Earliest start of the next request, by the monotonic clock. */
  #heldUntil = 0;
  #counts = { requests: 0, throttled: 0, repeated: 0 };

  constructor({ clock, signal, random = Math.random }: { clock: Clock; signal: AbortSignal; random?: () => number }) {
    this.#clock = clock;
    this.#signal = signal;
    this.#random = random;
  }

  get counts(): PaceCounts {
    return this.#counts;
  }

  /**
   * @param limit of one attempt
   * @param repeats `throttled`: a request that may have been executed is not repeated
   * @throws ServiceFailure; AgentError if all other requests would fail, too; the signal's reason
   */
  async run<T>(limit: Duration, attempt: () => Promise<T>, repeats: Repeats = 'all'): Promise<T> {
    await this.#enter();
    try {
      return await this.#repeat(limit, attempt, repeats);
    } finally {
      this.#running -= 1;
      this.#waiting.shift()?.();
    }
  }

  async #enter(): Promise<void> {
    while (this.#running >= AT_ONCE) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#running += 1;
  }

  async #repeat<T>(limit: Duration, attempt: () => Promise<T>, repeats: Repeats): Promise<T> {
    const began = this.#clock.monotonic();
    let wait = SHORTEST_WAIT;
    for (let tries = 1; ; ) {
      await this.#held();
      this.#counts.requests += 1;
      try {
        return await untilAborted<T>(this.#signal, (resolve, reject) => {
          this.#clock.within(limit, 'a request to the hub', attempt()).then(resolve, reject);
        });
      } catch (thrown) {
        this.#signal.throwIfAborted();
        const failure = failureOf(thrown);
        if (failure instanceof AgentError || failure.kind === 'refused') throw failure;
        if (failure.kind === 'throttled') {
          this.#counts.throttled += 1;
          if (this.#clock.monotonic() - began > PATIENCE) throw throttledForLong(failure);
          this.#hold(failure.retryAfter ?? wait);
        } else {
          tries += 1;
          if (repeats === 'throttled') throw failure;
          if (tries > ATTEMPTS) throw failure.kind === 'unanswered' ? unreachable(failure) : failure;
          this.#counts.repeated += 1;
          await this.#clock.sleep(this.#jittered(wait), this.#signal);
        }
        wait = milliseconds(Math.min(LONGEST_WAIT, wait * 2));
      }
    }
  }

  /** Waits while the hub throttles. */
  async #held(): Promise<void> {
    for (let left = 1; left > 0 && !this.#signal.aborted; ) {
      left = this.#heldUntil - this.#clock.monotonic();
      if (left > 0) await this.#clock.sleep(this.#jittered(milliseconds(left)), this.#signal);
    }
    this.#signal.throwIfAborted();
  }

  #hold(wait: Duration): void {
    this.#heldUntil = Math.max(this.#heldUntil, this.#clock.monotonic() + wait);
  }

  /** Adds up to a quarter, so that waiting requests don't all start at the same time. */
  #jittered = (wait: Duration) => milliseconds(wait * (1 + this.#random() / 4));
}

const throttledForLong = ({ message }: ServiceFailure) =>
  new AgentError(
    'HUB_THROTTLED',
    `the hub has throttled a request for 15 minutes: ${message}`,
    'Run the command again when the hub is less busy, or add units to it; finished devices are skipped.',
  );

const unreachable = ({ message, cause }: ServiceFailure) =>
  new AgentError(
    'HUB_UNREACHABLE',
    `the hub does not answer: ${message}`,
    cause instanceof ProxyError
      ? `Check the proxy ${cause.proxy}, and that it can reach the hub, then run the command again; finished devices are skipped.`
      : "Check the hub's name and this machine's network, set a proxy if it needs one (--proxy URL), then run the command again; finished devices are skipped.",
  );

/**
 * Calls `work` for each item, for at most `limit` items at a time. After an error it starts no further call, waits for the
 * running ones and rejects with the first error.
 */
export async function forEachLimited<T>(
  items: Iterable<T>,
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const iterator = items[Symbol.iterator]();
  const errors: unknown[] = [];
  const worker = async () => {
    for (let next = iterator.next(); next.done !== true && errors.length === 0; next = iterator.next()) {
      await work(next.value).catch((error: unknown) => errors.push(error));
    }
  };
  await Promise.all(Array.from({ length: limit }, worker));
  if (errors.length > 0) throw errors[0];
}
