import { readdirSync } from 'node:fs';
import { type Clock, wallOffset } from '../base/clock.ts';
import { type Duration, milliseconds, seconds } from '../base/duration.ts';

/** What an entry of the list takes, of the time to find out that one process isn't there any more by stat(2): measured. */
const LOOKS_PER_ENTRY = 0.3;
/**
 * Audit's times are those of the kernel's last clock tick, at most 10 ms old, cut to milliseconds. What is seen this much
 * after one was seen after the event, as long as the wall clock hasn't been set back by more than `SMALLEST_STEP` between
 * the two; how long that is trusted to be noticed.
 */
export const LATER = milliseconds(13);
export const SMALLEST_STEP = milliseconds(2);
export const LONGEST_MEMORY = seconds(1);

/**
 * Says which processes have ended, cheaply when many are asked for at once: then one list of all that live costs less
 * than to look for each, of which hardly any is still there.
 */
export class LivingProcesses {
  readonly #proc: string;
  readonly #clock: Clock;
  #living = new Set<number>();
  /** By the wall clock. */
  #listedAt = Number.NEGATIVE_INFINITY;
  #listedAtMonotonic: Duration = milliseconds(Number.NEGATIVE_INFINITY);
  #offset = 0;
  /** All in single looks: what the last list has taken, what it has saved, and how many there have been since. */
  #cost = 50;
  #saved = 0;
  #spent = 0;

  constructor({ proc, clock }: { proc: string; clock: Clock }) {
    this.#proc = proc;
    this.#clock = clock;
  }

  /**
   * @param startedAt by the wall clock, in milliseconds
   * @returns whether it is certain that it has ended; otherwise it must be looked for
   */
  hasEnded(pid: number, startedAt: number): boolean {
    if (!this.#isListed(startedAt)) {
      if (startedAt + LATER > this.#clock.now().getTime()) return false;
      this.#spent += 1;
      // Either the last list was worth it, and so will the next one be; or one would have been.
      if (this.#saved <= this.#cost && this.#spent <= this.#cost) return false;
      this.#list();
      if (!this.#isListed(startedAt)) return false;
    }
    this.#saved += 1;
    return !this.#living.has(pid);
  }

  #isListed(startedAt: number): boolean {
    if (startedAt + LATER > this.#listedAt) return false;
    if (this.#clock.monotonic() - this.#listedAtMonotonic > LONGEST_MEMORY) return false;
    return Math.abs(wallOffset(this.#clock) - this.#offset) <= SMALLEST_STEP;
  }

  #list(): void {
    this.#saved = 0;
    this.#spent = 0;
    this.#listedAt = this.#clock.now().getTime();
    this.#listedAtMonotonic = this.#clock.monotonic();
    this.#offset = this.#listedAt - this.#listedAtMonotonic;
    try {
      const names = readdirSync(this.#proc);
      this.#living = new Set(names.map(Number));
      this.#cost = names.length * LOOKS_PER_ENTRY;
    } catch {
      this.#listedAt = Number.NEGATIVE_INFINITY; // no /proc
    }
  }
}
