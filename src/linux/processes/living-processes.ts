import { readdirSync } from 'node:fs';
import { type Clock, type Moment, momentOf, wallOffset } from '../../base/clock.ts';
import { milliseconds, seconds } from '../../base/duration.ts';

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

const NEVER: Moment = { wall: Number.NEGATIVE_INFINITY, monotonic: milliseconds(Number.NEGATIVE_INFINITY) };

/**
 * Says which processes have ended, cheaply when many are asked for at once: then one list of all that live costs less
 * than to look for each, of which hardly any is still there.
 */
export class LivingProcesses {
  readonly #proc: string;
  readonly #clock: Clock;
  #living = new Set<number>();
  #listed = NEVER;
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
   * @param now when this is asked, or a moment before
   * @returns whether it is certain that it has ended; otherwise it must be looked for
   */
  hasEnded(pid: number, startedAt: number, now: Moment = momentOf(this.#clock)): boolean {
    if (!this.#isListed(startedAt, now)) {
      if (startedAt + LATER > now.wall) return false;
      this.#spent += 1;
      // Either the last list was worth it, and so will the next one be; or one would have been.
      if (this.#saved <= this.#cost && this.#spent <= this.#cost) return false;
      this.#list();
      if (!this.#isListed(startedAt, now)) return false;
    }
    this.#saved += 1;
    return !this.#living.has(pid);
  }

  #isListed(startedAt: number, now: Moment): boolean {
    if (startedAt + LATER > this.#listed.wall) return false;
    if (now.monotonic - this.#listed.monotonic > LONGEST_MEMORY) return false;
    return Math.abs(wallOffset(now) - wallOffset(this.#listed)) <= SMALLEST_STEP;
  }

  #list(): void {
    this.#saved = 0;
    this.#spent = 0;
    this.#listed = momentOf(this.#clock);
    try {
      const names = readdirSync(this.#proc);
      this.#living = new Set(names.map(Number));
      this.#cost = Math.floor(names.length * LOOKS_PER_ENTRY);
    } catch {
      this.#listed = NEVER; // no /proc
    }
  }
}
