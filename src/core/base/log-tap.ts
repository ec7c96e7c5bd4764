import { FAILURES } from './errors.ts';
import type { LogLevel, LogLine } from './log.ts';

/** Lines kept until `listen` is called; the agent's parts log before the pipeline is built. */
const MAX_KEPT = 100;
/**
 * Maximum number of lines passed on per minute, for each level and for each id. A defect that logs in a loop must not
 * push real events out of the queues, and an attacker who can cause lines of one kind must not hide another, such as
 * AUDIT_TAMPERED.
 */
const MAX_OF_LEVEL = 60;
const MAX_OF_ID = 10;

/**
 * Passes on the agent's own log lines, which become Diagnostic events. Lines beyond the limits are dropped and counted.
 * Lines about alerts are omitted, since an alert is itself an event.
 */
export class LogTap {
  readonly level: LogLevel;
  #kept: LogLine[] = [];
  #listener: ((line: LogLine) => void) | undefined;
  #countLost: (count: number) => void = () => {};
  #minute = Number.NEGATIVE_INFINITY;
  /** Number of lines in the current minute, keyed by kind. */
  readonly #lines = new Map<string, number>();
  /** Number of dropped lines that have not been reported yet, and the time of the latest one. */
  #untold = 0;
  #droppedAt = new Date(0);

  constructor(level: LogLevel) {
    this.level = level;
  }

  accept(line: LogLine): void {
    if (line.isAlert !== undefined) return;
    const minute = Math.floor(line.time.getTime() / 60_000);
    if (minute !== this.#minute) {
      this.#minute = minute;
      this.#lines.clear();
      if (this.#listener !== undefined) this.#tell();
    }
    const { kind, max } = shareOf(line);
    const lines = (this.#lines.get(kind) ?? 0) + 1;
    this.#lines.set(kind, lines);
    if (lines > max) this.#drop(line);
    else if (this.#listener !== undefined) this.#listener(line);
    else if (this.#kept.length < MAX_KEPT) this.#kept.push(line);
    else this.#drop(line);
  }

  /**
   * Passes on the lines kept so far and each later one. If lines were dropped, a line with their number comes before
   * the first line of the next minute.
   *
   * @param countLost called immediately with the number of dropped lines
   * @returns a function that stops this; later lines are neither passed on nor counted
   */
  listen(listener: (line: LogLine) => void, countLost: (count: number) => void = () => {}): () => void {
    this.#listener = listener;
    this.#countLost = countLost;
    for (const line of this.#kept) listener(line);
    this.#kept = [];
    if (this.#untold > 0) countLost(this.#untold);
    return () => {
      this.#tell();
      this.#listener = () => {};
      this.#countLost = () => {};
    };
  }

  #drop({ time }: LogLine): void {
    this.#untold += 1;
    this.#droppedAt = time;
    this.#countLost(1);
  }

  #tell(): void {
    if (this.#untold === 0) return;
    const message = `Dropped ${this.#untold} lines of the log that would have been Diagnostic events; the log itself has them.`;
    this.#untold = 0;
    this.#listener?.({ time: this.#droppedAt, level: 'warn', message });
  }
}

/** Only the several dozen ids of the agent's own failures have their own limit. */
function shareOf({ level, id }: LogLine): { kind: string; max: number } {
  if (id !== undefined && Object.hasOwn(FAILURES, id)) return { kind: id, max: MAX_OF_ID };
  return { kind: level, max: MAX_OF_LEVEL };
}

const MAX_LINES = 50;
/** Maximum length of a message and of a remedy, in characters. */
const LONGEST_TEXT = 500;

/** The last warnings and errors of the log, for the status. Bounded in number and length. */
export class RecentLines {
  readonly level = 'warn';
  readonly #lines: LogLine[] = [];

  accept(line: LogLine): void {
    const { message, remedy } = line;
    this.#lines.push({ ...line, message: cut(message), ...(remedy === undefined ? {} : { remedy: cut(remedy) }) });
    if (this.#lines.length > MAX_LINES) this.#lines.shift();
  }

  /** Oldest first. */
  all(): readonly LogLine[] {
    return this.#lines;
  }
}

const cut = (text: string) => (text.length <= LONGEST_TEXT ? text : `${text.slice(0, LONGEST_TEXT - 1)}…`);
