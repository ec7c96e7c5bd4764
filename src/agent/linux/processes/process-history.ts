import type { StartMoment } from '../../../core/contract/ancestry.ts';

/** Programs that processes ran before, kept for events that are evaluated later. */
const MAX_PROCESSES = 1_024;
const MAX_CHARACTERS = 256 * 1_024;
/** Programs kept for one process, which can execute another one at any rate. */
const MAX_PROGRAMS = 4;

/** When a process began to run a program; `at` is -Infinity when that was not seen. */
export interface Began {
  /** In milliseconds since the epoch. */
  readonly at: number;
  readonly serial: number | undefined;
}

/** A program that a process ran, and until when. */
export interface Past<E extends Began> {
  readonly entry: E;
  readonly commandLine: string | undefined;
  /** In milliseconds since the epoch. */
  readonly until: number;
}

/** Whether a process had begun to run a program by a moment. Serials count up by one per event, and wrap at 2^32. */
export function hadBegun({ at, serial }: Began, moment: StartMoment): boolean {
  if (serial === undefined || moment.serial === undefined) return at <= moment.time;
  return ((moment.serial - serial) | 0) >= 0;
}

/** What processes were before they executed another program, or ended. Bounded: the longest unchanged are dropped. */
export class ProcessHistory<E extends Began> {
  /** Oldest change first; the programs of one process newest first. */
  readonly #pasts = new Map<number, readonly Past<E>[]>();
  #characters = 0;

  add(pid: number, past: Past<E>): void {
    const known = this.#pasts.get(pid) ?? [];
    this.#pasts.delete(pid);
    const kept = [past, ...known.slice(0, MAX_PROGRAMS - 1)];
    this.#pasts.set(pid, kept);
    this.#characters += lengthOf(kept) - lengthOf(known);
    for (const [oldest, all] of this.#pasts) {
      if (this.#pasts.size <= MAX_PROCESSES && this.#characters <= MAX_CHARACTERS) break;
      this.#pasts.delete(oldest);
      this.#characters -= lengthOf(all);
    }
  }

  /** The program that a process ran at a moment. */
  find(pid: number, moment: StartMoment): Past<E> | undefined {
    const past = this.#pasts.get(pid)?.find(({ entry }) => hadBegun(entry, moment));
    return past !== undefined && moment.time <= past.until ? past : undefined;
  }

  /** The first program that a process is known to have run after a moment. */
  firstAfter(pid: number, moment: StartMoment): E | undefined {
    return this.#pasts.get(pid)?.findLast(({ entry }) => !hadBegun(entry, moment))?.entry;
  }
}

const lengthOf = (pasts: readonly Past<Began>[]): number =>
  pasts.reduce((sum, { commandLine = '' }) => sum + commandLine.length, 0);
