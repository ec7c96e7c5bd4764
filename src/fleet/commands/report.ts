import type { Clock } from '../../core/base/clock.ts';
import { LONG_AGO, milliseconds } from '../../core/base/duration.ts';
import { printable } from '../../core/base/text.ts';
import type { World } from '../../core/command-line/command.ts';
import { ServiceFailure } from '../service-failure.ts';

/** The summary of a dry run. */
export const DRY_RUN = 'Dry run, nothing was done. Without --dry-run';
/** Minimum interval between updates of the progress line. */
const EVERY = milliseconds(200);
/** Moves to the line above and clears it; see console_codes(4). */
const REPLACE = '\u001b[A\u001b[2K';

/** Counts the outcome of each device, shows progress on a terminal, and names failures. */
export class Report {
  readonly #world: World;
  readonly #clock: Clock;
  readonly #outcomes = new Map<string, number>();
  #failures = 0;
  #done = 0;
  #total = 0;
  #isLive = false;
  #shownAt = LONG_AGO;

  constructor(world: World, clock: Clock) {
    this.#world = world;
    this.#clock = clock;
  }

  get hasFailed(): boolean {
    return this.#failures > 0;
  }

  /** Sets the number of devices to process, as far as known. */
  expect(total: number): void {
    this.#total = total;
  }

  /** Counts a finished device. @param outcome its category: `made`, `already there` */
  note(outcome: string): void {
    this.#outcomes.set(outcome, (this.#outcomes.get(outcome) ?? 0) + 1);
    this.#step();
  }

  /** Counts a failure and names it. @param why omitted if a line of the result names it */
  fail(deviceId: string, why?: string): void {
    this.#failures += 1;
    if (why !== undefined) this.#printProblem(`failed: ${deviceId}: ${why}`);
    this.#step();
  }

  /** Prints a warning about a device that was processed anyway. */
  warn(deviceId: string, warning: string): void {
    this.#printProblem(`warning: ${deviceId}: ${warning}`);
  }

  /** Runs the work for one device; records errors of this device only. @throws all other errors */
  async device(deviceId: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof ServiceFailure)) throw error;
      this.fail(deviceId, error.message);
    }
  }

  /** Prints a line of the result, above the progress line. @param line safe for a terminal */
  line(line: string): void {
    this.#print(line, this.#world.stdout);
  }

  /** Replaces the progress line, if there is a terminal. */
  show(text: string): void {
    const { terminal, stdout, columns = 80 } = this.#world;
    const now = this.#clock.monotonic();
    if (!terminal || now - this.#shownAt < EVERY) return;
    this.#shownAt = now;
    stdout(`${this.#isLive ? REPLACE : ''}${printable(text).slice(0, columns - 1)}`);
    this.#isLive = true;
  }

  /** Prints the summary. */
  end(label: string, { isCut = false } = {}): void {
    const counts = this.#counts();
    const rest = isCut ? '; not finished, run the command again to continue' : '';
    this.#print(`${label}: ${counts.join(', ') || 'nothing to do'}${rest}.`, this.#world.stdout);
  }

  #step(): void {
    this.#done += 1;
    this.show(`${this.#done}${this.#total > 0 ? ` of ${this.#total}` : ''}: ${this.#counts().join(', ')}`);
  }

  /** `2 made, 5 already there, 1 failed`: changes first. */
  #counts(): string[] {
    const isChange = (outcome: string) => !outcome.startsWith('already');
    const sorted = [...this.#outcomes].sort(
      ([a], [b]) => Number(isChange(b)) - Number(isChange(a)) || a.localeCompare(b, 'en'),
    );
    const failed = this.#failures === 0 ? [] : [`${this.#failures} failed`];
    return [...sorted.map(([outcome, count]) => `${count} ${outcome}`), ...failed];
  }

  #printProblem(line: string): void {
    this.#print(printable(line), this.#world.terminal ? this.#world.stdout : this.#world.stderr);
  }

  #print(line: string, to: (line: string) => void): void {
    to(`${this.#isLive ? REPLACE : ''}${line}`);
    this.#isLive = false;
  }
}

/** Runs a command's work and prints the summary, even after an abort. @throws its error, unless a signal aborted it */
export async function reported(
  report: Report,
  label: string,
  signal: AbortSignal,
  work: () => Promise<void>,
): Promise<number> {
  try {
    await work();
  } catch (error) {
    report.end(label, { isCut: true });
    if (signal.aborted) return 1;
    throw error;
  }
  report.end(label);
  return report.hasFailed ? 1 : 0;
}
