import type { Clock } from './clock.ts';
import type { Duration } from './duration.ts';

/**
 * Lets a loop sleep for a time, and lets others wake it early.
 *
 * A ring between two sleeps is remembered and ends the next sleep immediately; several such rings count as one.
 */
export class Alarm {
  #rung = false;
  #sleeper: AbortController | undefined;

  /** Ends the current sleep, or else the next one. */
  ring(): void {
    this.#rung = true;
    this.#sleeper?.abort();
  }

  /** Resolves after `wait`, at a ring, or when `signal` aborts. One sleeper at a time; never rejects. */
  async sleep(clock: Clock, wait: Duration, signal: AbortSignal): Promise<void> {
    if (!this.#rung && !signal.aborted) {
      const sleeper = new AbortController();
      const stop = () => sleeper.abort();
      signal.addEventListener('abort', stop, { once: true });
      this.#sleeper = sleeper;
      await clock.sleep(wait, sleeper.signal);
      this.#sleeper = undefined;
      signal.removeEventListener('abort', stop);
    }
    this.#rung = false;
  }
}
