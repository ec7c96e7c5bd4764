import { FAILURES } from './errors.ts';
import type { LogLevel, LogLine } from './log.ts';

/** Lines kept until `listen` is called; the agent's parts log before the pipeline is built. */
const MAX_KEPT = 100;
/**
 * Lines passed on in one minute, of each level and of each id. A defect that logs in a loop must not push real events out of
 * the queues; and whoever can cause lines of one kind must not hide those of another, such as AUDIT_TAMPERED.
 */
const MAX_OF_LEVEL = 60;
const MAX_OF_ID = 10;

/**
 * Passes the agent's own log lines on, to be turned into Diagnostic events. Lines beyond the limits are dropped and counted.
 * Lines about alerts are left out: an alert is an event itself.
 */
export class LogTap {
  readonly level: LogLevel;
  #kept: LogLine[] = [];
  #listener: ((line: LogLine) => void) | undefined;
  #countLost: (count: number) => void = () => {};
  #minute = Number.NEGATIVE_INFINITY;
  /** Lines of this minute, by their kind. */
  readonly #lines = new Map<string, number>();
  /** Dropped lines that no line has told of yet, and the time of the latest one. */
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
   * Passes on the lines kept so far, and each later one; the first line of another minute comes after one that says how many
   * were dropped.
   *
   * @param countLost told of dropped lines at once
   * @returns a function that ends that; later lines are neither passed on nor counted
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

/** Only ids of the agent's own failures, of which there are some dozens, have a share of their own. */
function shareOf({ level, id }: LogLine): { kind: string; max: number } {
  if (id !== undefined && Object.hasOwn(FAILURES, id)) return { kind: id, max: MAX_OF_ID };
  return { kind: level, max: MAX_OF_LEVEL };
}

const MAX_LINES = 50;
/** In characters, of a message and of a remedy. */
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
