import type { Clock } from '../../core/base/clock.ts';
import { LONG_AGO, milliseconds } from '../../core/base/duration.ts';
import { printable } from '../../core/base/text.ts';
import type { World } from '../../core/command-line/command.ts';
import { ServiceFailure } from '../service-failure.ts';

/** What a dry run is summed up as. */
export const DRY_RUN = 'Dry run, nothing was done. Without --dry-run';
/** Named again at the end; further ones are only counted there. */
const MAX_NAMED = 100;
/** How often the line of progress changes. */
const EVERY = milliseconds(200);
/** Moves to the line above and clears it; see console_codes(4). */
const REPLACE = '\u001b[A\u001b[2K';

/** Counts what becomes of each device, shows progress on a terminal, and names failures. */
export class Report {
  readonly #world: World;
  readonly #clock: Clock;
  readonly #outcomes = new Map<string, number>();
  readonly #named: string[] = [];
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

  /** How many devices there are to do, as far as is known. */
  expect(total: number): void {
    this.#total = total;
  }

  /** One device is done. @param outcome counted by its name: `made`, `already there` */
  note(outcome: string): void {
    this.#outcomes.set(outcome, (this.#outcomes.get(outcome) ?? 0) + 1);
    this.#step();
  }

  fail(deviceId: string, why: string): void {
    this.#failures += 1;
    const line = `${deviceId}: ${why}`;
    if (this.#named.length < MAX_NAMED) this.#named.push(line);
    this.#print(printable(`failed: ${line}`), this.#world.terminal ? this.#world.stdout : this.#world.stderr);
    this.#step();
  }

  /** Tells something about a device that is done nevertheless. */
  warn(deviceId: string, what: string): void {
    this.#print(
      printable(`warning: ${deviceId}: ${what}`),
      this.#world.terminal ? this.#world.stdout : this.#world.stderr,
    );
  }

  /** Runs the work for one device; what concerns only this one is a failure of its own. @throws everything else */
  async device(deviceId: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof ServiceFailure)) throw error;
      this.fail(deviceId, error.message);
    }
  }

  /** Prints a line of the result, above the line of progress. @param line safe for a terminal */
  line(line: string): void {
    this.#print(line, this.#world.stdout);
  }

  /** Replaces the line of progress, if there is a terminal. */
  show(text: string): void {
    const { terminal, stdout, columns = 80 } = this.#world;
    const now = this.#clock.monotonic();
    if (!terminal || now - this.#shownAt < EVERY) return;
    this.#shownAt = now;
    stdout(`${this.#isLive ? REPLACE : ''}${printable(text).slice(0, columns - 1)}`);
    this.#isLive = true;
  }

  /** Sums up, and names the failures. */
  end(what: string, { isCut = false } = {}): void {
    const counts = this.#counts();
    const rest = isCut ? '; not finished, run the command again to go on' : '';
    this.#print(`${what}: ${counts.join(', ') || 'nothing to do'}${rest}.`, this.#world.stdout);
    if (this.#failures === 0) return;
    this.#world.stderr('These failed:');
    for (const line of this.#named) this.#world.stderr(printable(`  ${line}`));
    const others = this.#failures - this.#named.length;
    if (others > 0)
      this.#world.stderr(`  and ${others} others, named above. The command, run again, tries only what is left.`);
  }

  #step(): void {
    this.#done += 1;
    this.show(`${this.#done}${this.#total > 0 ? ` of ${this.#total}` : ''}: ${this.#counts().join(', ')}`);
  }

  /** `2 made, 5 already there, 1 failed`: first what was changed. */
  #counts(): string[] {
    const isChange = (outcome: string) => !outcome.startsWith('already');
    const sorted = [...this.#outcomes].sort(
      ([a], [b]) => Number(isChange(b)) - Number(isChange(a)) || a.localeCompare(b, 'en'),
    );
    const failed = this.#failures === 0 ? [] : [`${this.#failures} failed`];
    return [...sorted.map(([outcome, count]) => `${count} ${outcome}`), ...failed];
  }

  #print(line: string, to: (line: string) => void): void {
    to(`${this.#isLive ? REPLACE : ''}${line}`);
    this.#isLive = false;
  }
}

/** Runs a command's work, and sums up also when it is ended early. @throws what ended it, unless a signal did */
export async function reported(
  report: Report,
  what: string,
  signal: AbortSignal,
  work: () => Promise<void>,
): Promise<number> {
  try {
    await work();
  } catch (error) {
    report.end(what, { isCut: true });
    if (signal.aborted) return 1;
    throw error;
  }
  report.end(what);
  return report.hasFailed ? 1 : 0;
}
