import type { Clock } from '../../../../core/base/clock.ts';
import { type Duration, milliseconds, minutes, seconds } from '../../../../core/base/duration.ts';
import { COARSEST_TIME } from '../../../host/file-state.ts';
import { type Allowance, ROOT, SHARE } from '../../../host/hashing-time.ts';
import type { LocalFiles } from '../../../host/local-files.ts';
import { SlicedDigest } from '../../../host/sliced-digest.ts';
import { type Outcome, openProgram, type Task } from './program-file.ts';

/** Length of a slice; a slice is longer when time was saved up. */
const SPELL = milliseconds(5);
/** The pause between slices, extended by this many starts during it: other processes need the machine then. */
const REST = milliseconds(SPELL / SHARE);
const MANY_STARTS = 25;
/** How long a file is delayed by other starts in all: starting programs cannot delay it indefinitely. */
const LONGEST_REST = minutes(1);
/** How long to sleep at most when no user has time left: a file of another user may have been added. */
const LONGEST_SLEEP = seconds(1);

const BYTES_PER_SLICE = 256 * 1024;
/** Files that may wait: of all users, of all but root, and of one user other than root. */
const MAX_WAITING = 32;
const MAX_WAITING_OF_OTHERS = 24;
const MAX_WAITING_OF_A_USER = 8;

/**
 * Reads files that take too long to hash at once, slice by slice, in the time budget of each user. After each slice, a user
 * with more time left takes the next turn. Root's files come first, and of one user's the smallest.
 */
export class BackgroundReader {
  readonly #clock: Clock;
  readonly #files: LocalFiles;
  readonly #settle: (task: Task, outcome: Outcome) => void;
  readonly #asked: () => number;
  #waiting: Reading[] = [];
  #running: Promise<void> | undefined;

  /**
   * @param options `settle` receives the result of a file; `asked` returns how many programs have been started so far
   */
  constructor(options: {
    clock: Clock;
    files: LocalFiles;
    settle: (task: Task, outcome: Outcome) => void;
    asked: () => number;
  }) {
    this.#clock = options.clock;
    this.#files = options.files;
    this.#settle = options.settle;
    this.#asked = options.asked;
  }

  /** @returns whether the file was added, or was waiting already */
  add(task: Task, allowance: Allowance): 'added' | 'waits' | 'full' {
    if (this.#waiting.some((reading) => reading.task.key === task.key)) return 'waits';
    const { payer } = allowance;
    const others = this.#waiting.filter((reading) => reading.allowance.payer !== ROOT);
    if (this.#waiting.length >= MAX_WAITING) return 'full';
    if (payer !== ROOT) {
      if (others.length >= MAX_WAITING_OF_OTHERS) return 'full';
      if (others.filter((reading) => reading.allowance.payer === payer).length >= MAX_WAITING_OF_A_USER) return 'full';
    }
    this.#waiting.push(new Reading(task, allowance, this.#clock, this.#files));
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
    return 'added';
  }

  /** Resolves when no file is waiting. Never rejects. */
  async idle(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    const buffer = Buffer.allocUnsafeSlow(BYTES_PER_SLICE);
    while (this.#waiting.length > 0) {
      const asked = this.#asked();
      const wait = Math.min(...this.#waiting.map((reading) => reading.wait()));
      await this.#clock.sleep(milliseconds(Math.max(REST, Math.min(wait, LONGEST_SLEEP))));
      const next = this.#next(this.#asked() - asked > MANY_STARTS);
      if (next === undefined) continue;
      const outcome = await next.read(buffer);
      if (outcome === undefined) continue;
      this.#waiting = this.#waiting.filter((reading) => reading !== next);
      this.#settle(next.task, outcome);
    }
  }

  #next(isBusy: boolean): Reading | undefined {
    let best: Reading | undefined;
    for (const reading of this.#waiting) {
      if (reading.wait() > 0 || (reading.isPatient() && isBusy)) continue;
      if (best === undefined || reading.isBefore(best)) best = reading;
    }
    return best;
  }
}

/** A file and how far it was read. */
class Reading {
  readonly task: Task;
  readonly allowance: Allowance;
  readonly #clock: Clock;
  readonly #files: LocalFiles;
  readonly #since: Duration;
  /** From the first slice on. */
  #digest: SlicedDigest | undefined;

  constructor(task: Task, allowance: Allowance, clock: Clock, files: LocalFiles) {
    this.task = task;
    this.allowance = allowance;
    this.#clock = clock;
    this.#files = files;
    this.#since = clock.monotonic();
  }

  /** How long it cannot be read yet: it may still change unnoticed, or the time budget is used up. */
  wait(): Duration {
    const { changedAt } = this.task.known;
    const age = this.#clock.now().getTime() - changedAt;
    const unsettled = this.#digest === undefined && age >= 0 && age < COARSEST_TIME ? COARSEST_TIME - age : 0;
    const { reserved } = this.allowance;
    return milliseconds(Math.max(unsettled, this.allowance.untilThereIs(milliseconds(reserved + SPELL))));
  }

  /** Whether it is still delayed by other starts. */
  isPatient(): boolean {
    return this.#clock.monotonic() - this.#since < LONGEST_REST;
  }

  isBefore(other: Reading): boolean {
    if (this.allowance === other.allowance) {
      if (this.#digest !== undefined || other.#digest !== undefined) return this.#digest !== undefined;
      return this.task.known.file.size < other.task.known.file.size;
    }
    if (this.allowance.payer === ROOT || other.allowance.payer === ROOT) return this.allowance.payer === ROOT;
    return this.allowance.left() > other.allowance.left();
  }

  /** Reads a slice. @returns `undefined` when there is more to read */
  async read(buffer: Buffer): Promise<Outcome | undefined> {
    if (this.#digest === undefined) {
      const { known, where } = this.task;
      known.hashedAt = this.#clock.now().getTime();
      const file = openProgram(this.#files, where, known.file);
      if (typeof file === 'string') return file;
      this.#digest = new SlicedDigest({ file, state: known.file, allowance: this.allowance, clock: this.#clock });
    }
    return this.#digest.read(buffer);
  }
}
