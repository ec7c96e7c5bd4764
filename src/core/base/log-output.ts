import { type Clock, systemClock } from './clock.ts';
import { type Duration, LONG_AGO, milliseconds, seconds } from './duration.ts';
import { errnoOf } from './errors.ts';
import { type LateFailure, type Send, sendTo } from './output-descriptor.ts';

/** Bytes of lines that may wait for a slow reader; the pipe or socket buffers as much or more. */
const MAX_WAITING = 64 * 1024;
/** Delay before lines that wait are tried again; doubled after each failure. */
const FIRST_RETRY = milliseconds(50);
const LONGEST_RETRY = seconds(2);
/** Minimum delay between two attempts: a failed one costs about 100 µs. */
const REST = milliseconds(10);
/** How long a reader that doesn't read may delay the agent's exit. */
const FLUSH_WITHIN = seconds(1);

/**
 * Writes the log without blocking or throwing, even if the reader has stopped reading or the disk is full. A line is
 * written immediately if possible. Otherwise it waits, up to a limit; further lines are dropped and counted, and a line
 * reports their number as soon as writing works again. A line that was written in part is completed first.
 */
export class LogOutput {
  readonly #send: Send;
  readonly #name: string;
  readonly #format: (line: string) => string;
  readonly #clock: Pick<Clock, 'now' | 'monotonic' | 'sleep'>;
  /** Lines in order; the first may be the rest of a line that was written in part. */
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #isBegun = false;
  #lost = 0;
  #why = '';
  /** How many lost lines the last write reported; 0 when it wrote something else. */
  #lastReported = 0;
  #isRetrying = false;
  /** When a write last failed with EAGAIN. */
  #behindAt = LONG_AGO;

  /**
   * @param descriptor of the file, 1 or 2
   * @param send for tests
   */
  constructor({
    descriptor = 1,
    format = (line) => line,
    send = sendTo(descriptor),
    clock = systemClock,
  }: {
    descriptor?: 1 | 2;
    format?: ((line: string) => string) | undefined;
    send?: Send;
    clock?: Pick<Clock, 'now' | 'monotonic' | 'sleep'>;
  } = {}) {
    this.#send = send;
    this.#name = descriptor === 1 ? 'standard output' : 'standard error';
    this.#format = format;
    this.#clock = clock;
  }

  write(line: string): void {
    if (this.#clock.monotonic() - this.#behindAt >= REST) this.#drain();
    const isFirst = this.#waiting.length === 0;
    const bytes = Buffer.from(this.#format(line));
    if (this.#lost > 0 || (!isFirst && this.#waitingBytes + bytes.length > MAX_WAITING)) this.#lost += 1;
    else {
      this.#wait(bytes);
      if (isFirst) this.#drain();
    }
    if (this.#waiting.length > 0 || this.#lost > 0) void this.#retry();
  }

  /** Resolves when everything is written, or after one second. Call this before the process exits. */
  async flush(): Promise<void> {
    const until = this.#clock.monotonic() + FLUSH_WITHIN;
    while (!this.#drain() && this.#clock.monotonic() < until) await this.#clock.sleep(FIRST_RETRY);
  }

  #wait(bytes: Buffer): void {
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
  }

  /** Writes as much as possible, and reports lost lines. @returns whether nothing is left to write */
  #drain(): boolean {
    while (this.#put()) {
      if (this.#lost === 0) return true;
      const record = { level: 'warn', time: this.#clock.now().toISOString(), lines: this.#lost, reason: this.#why };
      const msg =
        this.#why === 'EAGAIN'
          ? `${this.#lost} log lines were dropped because nobody read ${this.#name}.`
          : `${this.#lost} log lines were dropped because they could not be written.`;
      const before = this.#lost;
      this.#lost = 0;
      this.#wait(Buffer.from(this.#format(`${JSON.stringify({ ...record, msg })}\n`)));
      this.#put();
      // If it was not written, the line about the loss still waits, or was dropped and counted as one lost line.
      if (this.#waiting.length === 0 && this.#lost === 0) {
        this.#lastReported = before;
        return true;
      }
      if (this.#isBegun) return false;
      this.#waiting = [];
      this.#waitingBytes = 0;
      this.#lost = before + Math.max(0, this.#lost - 1);
      return false;
    }
    return false;
  }

  /** @returns whether no line is waiting */
  #put(): boolean {
    while (this.#waiting.length > 0) {
      const bytes = this.#waiting.length === 1 ? (this.#waiting[0] as Buffer) : Buffer.concat(this.#waiting);
      let sent = 0;
      try {
        sent = this.#send(bytes);
      } catch (error) {
        const why = errnoOf(error) ?? String(error);
        if (why === 'EAGAIN') {
          this.#behindAt = this.#clock.monotonic();
          if (this.#lost === 0) this.#why = why;
          return false;
        }
        this.#why = why;
        this.#lost += this.#lostLate(error as Partial<LateFailure>);
        this.#dropWaiting();
        return this.#waiting.length === 0 && this.#lost === 0;
      }
      if (sent === 0) return false;
      this.#lastReported = 0;
      this.#sent(sent);
    }
    return true;
  }

  /** Lines that an earlier write lost. If one of them was a report about lost lines, those count again. */
  #lostLate({ lostLines = 0 }: Partial<LateFailure>): number {
    const lost = lostLines > 0 && this.#lastReported > 0 ? lostLines - 1 + this.#lastReported : lostLines;
    this.#lastReported = 0;
    return lost;
  }

  #sent(bytes: number): void {
    let left = bytes;
    this.#waitingBytes -= bytes;
    while (left > 0) {
      const first = this.#waiting[0] as Buffer;
      if (first.length <= left) this.#waiting.shift();
      else this.#waiting[0] = first.subarray(left);
      this.#isBegun = first.length > left;
      left -= Math.min(first.length, left);
    }
  }

  /** Drops all waiting lines after an error that is not EAGAIN, except the rest of a line that was written in part. */
  #dropWaiting(): void {
    const kept = this.#isBegun ? this.#waiting.slice(0, 1) : [];
    this.#lost += this.#waiting.length - kept.length;
    this.#waiting = kept;
    this.#waitingBytes = kept.reduce((all, { length }) => all + length, 0);
  }

  /** Retries until everything is written, so that a loss is reported even if nothing more is logged. */
  async #retry(): Promise<void> {
    if (this.#isRetrying) return;
    this.#isRetrying = true;
    let pause: Duration = FIRST_RETRY;
    do {
      await this.#clock.sleep(pause);
      pause = milliseconds(Math.min(2 * pause, LONGEST_RETRY));
    } while (!this.#drain());
    this.#isRetrying = false;
  }
}
