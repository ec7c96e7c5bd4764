import type { Clock } from './clock.ts';
import type { Duration } from './duration.ts';

/**
 * Lets a loop sleep for a time, and lets others wake it early.
 *
 * A ring between two sleeps is remembered and ends the next sleep immediately; several such rings count as one.
 */
export class Alarm {
  #rung = false;
  #isSleeping = false;
  /** Aborted by a ring, then replaced; kept from one sleep to the next, since making one costs as much as a sleep. */
  #sleeper = new AbortController();
  /** Also ends sleeps. Listened to until another one is given. */
  #signal: AbortSignal | undefined;
  readonly #end = () => this.#sleeper.abort();

  /** Ends the current sleep, or else the next one. */
  ring(): void {
    this.#rung = true;
    if (this.#isSleeping) this.#end();
  }

  /** Resolves after `wait`, at a ring, or when `signal` aborts. One sleeper at a time; never rejects. */
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
