import type { Clock } from './clock.ts';
import { type Duration, milliseconds, seconds } from './duration.ts';

/**
 * Puts a loop to sleep; a ring wakes it early.
 *
 * A ring between two sleeps is remembered and ends the next sleep immediately; several such rings count as one.
 */
export class Alarm {
  #rung = false;
  #isSleeping = false;
  /** Aborted by a ring, then replaced. Reused by later sleeps, since creating one costs as much as a sleep. */
  #sleeper = new AbortController();
  /** The caller's signal, which also ends sleeps. Its listener stays until a different signal is passed. */
  #signal: AbortSignal | undefined;
  readonly #end = () => this.#sleeper.abort();

  /** Ends the current sleep, or else the next one. */
  ring(): void {
    this.#rung = true;
    if (this.#isSleeping) this.#end();
  }

  /** Resolves after `wait`, on a ring, or when `signal` aborts. One sleeper at a time; never rejects. */
  async sleep(clock: Clock, wait: Duration, signal?: AbortSignal): Promise<void> {
    if (!this.#rung && signal?.aborted !== true) {
      if (this.#sleeper.signal.aborted) this.#sleeper = new AbortController();
      this.#endWith(signal);
      this.#isSleeping = true;
      await clock.sleep(wait, this.#sleeper.signal);
      this.#isSleeping = false;
    }
    this.#rung = false;
  }

  #endWith(signal: AbortSignal | undefined): void {
    if (this.#signal === signal) return;
    this.#signal?.removeEventListener('abort', this.#end);
    this.#signal = signal;
    signal?.addEventListener('abort', this.#end, { once: true });
  }
}

/** Minimum interval between looks that are asked for. */
const LOOKS_APART = seconds(1);

/**
 * Asks all parts that look at files from time to time to look now, because an operator has changed some.
 *
 * The first request is passed on at once. Requests within a second after that count as one, passed on when the second is
 * over: a change that was made before a request is always seen, however many requests there are.
 */
export class LookNow {
  readonly #clock: Pick<Clock, 'monotonic' | 'sleep'>;
  readonly #listeners: (() => void)[] = [];
  #last = Number.NEGATIVE_INFINITY;
  #isPending = false;

  constructor(clock: Pick<Clock, 'monotonic' | 'sleep'>) {
    this.#clock = clock;
  }

  /** The listener must only begin to look, and must not throw. */
  on(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Bound, so that it can be passed as a callback. */
  readonly ask = (): void => {
    if (this.#isPending) return;
    const wait = this.#last + LOOKS_APART - this.#clock.monotonic();
    if (wait <= 0) {
      this.#look();
    } else {
      this.#isPending = true;
      void this.#clock.sleep(milliseconds(wait)).then(() => this.#look());
    }
  };

  #look(): void {
    this.#isPending = false;
    this.#last = this.#clock.monotonic();
    for (const listener of this.#listeners) listener();
  }
}

/**
 * The time until the next beat: an instant at which the monotonic clock shows a multiple of `pause`.
 *
 * For polling loops. Most intervals are multiples of one another, so the loops wake up together: waking an idle
 * processor costs far more than the work of each loop.
 *
 * @returns from 0.5 to 1.5 times `pause`: Node's timers may fire a little early, and a beat must not be used twice
 */
export function untilBeat(clock: Pick<Clock, 'monotonic'>, pause: Duration): Duration {
  const left = pause - (clock.monotonic() % pause);
  return milliseconds(left < pause / 2 ? left + pause : left);
}

/** The longest time that a turn may block the event loop. */
const LONGEST_TURN = milliseconds(5);

/** Splits long work into turns, between which the event loop runs other work. */
export class Turn {
  readonly #clock: Clock;
  #began: Duration;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#began = clock.monotonic();
  }

  /** Whether `next` must be called. Costs less than 0.1 µs. */
  isOver(): boolean {
    return this.#clock.monotonic() - this.#began >= LONGEST_TURN;
  }

  /** Lets the event loop run other work, and begins the next turn. */
  async next(): Promise<void> {
    await nextTurn();
    this.#began = this.#clock.monotonic();
  }
}

/** Lets the event loop run other work. */
export const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/**
 * Runs `work` with a signal that aborts, with the same reason, when either of two signals does. Leaves no listener on them.
 *
 * Used instead of AbortSignal.any: on Node 20, a signal that lives as long as the process leaks about 65 bytes for each
 * signal derived from it.
 */
export async function withEither<T>(
  signals: readonly [AbortSignal, AbortSignal],
  work: (either: AbortSignal) => Promise<T>,
): Promise<T> {
  const either = new AbortController();
  const aborts = signals.map((signal) => ({ signal, abort: () => either.abort(signal.reason) }));
  try {
    for (const { signal, abort } of aborts) {
      if (signal.aborted) abort();
      else signal.addEventListener('abort', abort, { once: true });
    }
    return await work(either.signal);
  } finally {
    for (const { signal, abort } of aborts) signal.removeEventListener('abort', abort);
  }
}
