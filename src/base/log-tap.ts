import type { LogLevel, LogLine } from './log.ts';

/** Lines kept until `listen` is called; the agent's parts log before the pipeline is built. */
const MAX_KEPT = 100;
/** Lines passed on in one minute. A defect that logs in a loop must not push real events out of the queues. */
const MAX_PER_MINUTE = 60;

/** Passes the agent's own log lines on, to be turned into Diagnostic events. Lines beyond the limits are dropped. */
export class LogTap {
  readonly level: LogLevel;
  #kept: LogLine[] = [];
  #listener: ((line: LogLine) => void) | undefined;
  #minute = Number.NEGATIVE_INFINITY;
  #passed = 0;

  constructor(level: LogLevel) {
    this.level = level;
  }

  accept(line: LogLine): void {
    const minute = Math.floor(line.time.getTime() / 60_000);
    if (minute !== this.#minute) {
      this.#minute = minute;
      this.#passed = 0;
    }
    this.#passed += 1;
    if (this.#passed > MAX_PER_MINUTE) return;
    if (this.#listener !== undefined) this.#listener(line);
    else if (this.#kept.length < MAX_KEPT) this.#kept.push(line);
  }

  /**
   * Passes on the lines kept so far, and each later one.
   *
   * @returns a function that ends that; later lines are dropped
   */
  listen(listener: (line: LogLine) => void): () => void {
    this.#listener = listener;
    for (const line of this.#kept) listener(line);
    this.#kept = [];
    return () => {
      this.#listener = () => {};
    };
  }
}
