import type { LogLine } from './log.ts';

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
