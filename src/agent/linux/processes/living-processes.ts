import { readdirSync } from 'node:fs';
import { type Clock, type Moment, momentOf, wallOffset } from '../../../core/base/clock.ts';
import { LONG_AGO, milliseconds, seconds } from '../../../core/base/duration.ts';

/** Cost of a list entry, relative to a stat(2) that finds a process gone: measured. */
const LOOKS_PER_ENTRY = 0.3;
/**
 * Audit's times are taken from the kernel's last clock tick, at most 10 ms old, and are in milliseconds. An observation
 * this much later was made after the event, unless the wall clock was set back by more than `SMALLEST_STEP` in between;
 * such steps are detected.
 */
export const LATER = milliseconds(13);
export const SMALLEST_STEP = milliseconds(2);
export const LONGEST_MEMORY = seconds(1);

const NOT_LISTED: Moment = { wall: Number.NEGATIVE_INFINITY, monotonic: LONG_AGO };

/**
 * Finds out which processes have exited, cheaply for many at once: listing all processes once costs less than looking up
 * each, most of which are gone.
 */
export class LivingProcesses {
  readonly #proc: string;
  readonly #clock: Clock;
  #living = new Set<number>();
  #listed = NOT_LISTED;
  /** In units of single lookups: the cost of the last list, what it saved, and the lookups since. */
  #cost = 50;
  #saved = 0;
  #spent = 0;

  constructor({ proc, clock }: { proc: string; clock: Clock }) {
    this.#proc = proc;
    this.#clock = clock;
  }

  /**
   * @param startedAt by the wall clock, in milliseconds
   * @param now the time of the call, or a moment before
   * @returns whether it has certainly ended; otherwise it must be looked up
   */
  hasEnded(pid: number, startedAt: number, now: Moment = momentOf(this.#clock)): boolean {
    if (!this.#isListed(startedAt, now)) {
      if (startedAt + LATER > now.wall) return false;
      this.#spent += 1;
      // A new list is worth its cost if the last one was, or would have been.
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
      this.#listed = NOT_LISTED; // no /proc
    }
  }
}
