import { type Clock, TimeLimitError } from '../../../src/core/base/clock.ts';
import { type Duration, milliseconds } from '../../../src/core/base/duration.ts';
import { nextTurn } from '../../../src/core/base/waiting.ts';

/** Everything due within a step happens at its end. */
const STEP_MS = 50;
const EPOCH = Date.parse('2026-03-04T05:06:07Z');

interface Sleeper {
  wake(): void;
}

/**
 * A clock that advances as fast as the simulation can be computed. Starts at 0. Suitable for many thousand sleepers.
 */
export class SimulatedClock implements Clock {
  #nowMs = 0;
  readonly #due = new Map<number, Sleeper[]>();
  /** The times in `#due`, as a binary heap: the earliest first. */
  readonly #times: number[] = [];

  now(): Date {
    return new Date(EPOCH + this.#nowMs);
  }

  monotonic(): Duration {
    return milliseconds(this.#nowMs);
  }

  fromKernel(): Date {
    throw new RangeError('there is no kernel in a simulation');
  }

  sleep(wait: Duration, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const wake = () => {
        signal?.removeEventListener('abort', wake);
        resolve();
      };
      signal?.addEventListener('abort', wake);
      this.#add(this.#nowMs + Math.max(1, wait), { wake });
    });
  }

  async within<T>(limit: Duration, what: string, work: Promise<T>): Promise<T> {
    const done = new AbortController();
    const late = this.sleep(limit, done.signal).then(() => {
      if (!done.signal.aborted) throw new TimeLimitError(what, limit);
    });
    try {
      return (await Promise.race([work, late])) as T;
    } finally {
      done.abort();
    }
  }

  /** Advances the time. */
  async pass(duration: Duration): Promise<void> {
    const end = this.#nowMs + duration;
    await nextTurn();
    for (let next = this.#times[0]; next !== undefined && next <= end; next = this.#times[0]) {
      this.#nowMs = next;
      this.#removeFirst();
      const sleepers = this.#due.get(next) ?? [];
      this.#due.delete(next);
      for (const sleeper of sleepers) sleeper.wake();
      await nextTurn();
    }
    this.#nowMs = end;
  }

  #add(at: number, sleeper: Sleeper): void {
    const time = Math.ceil(at / STEP_MS) * STEP_MS;
    const others = this.#due.get(time);
    if (others !== undefined) {
      others.push(sleeper);
      return;
    }
    this.#due.set(time, [sleeper]);
    let place = this.#times.push(time) - 1;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if ((this.#times[parent] ?? 0) <= time) break;
      this.#times[place] = this.#times[parent] ?? 0;
      place = parent;
    }
    this.#times[place] = time;
  }

  #removeFirst(): void {
    const last = this.#times.pop();
    const count = this.#times.length;
    if (last === undefined || count === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= count) break;
      if (child + 1 < count && (this.#times[child + 1] ?? 0) < (this.#times[child] ?? 0)) child += 1;
      const smaller = this.#times[child] ?? 0;
      if (smaller >= last) break;
      this.#times[at] = smaller;
      at = child;
    }
    this.#times[at] = last;
  }
}
