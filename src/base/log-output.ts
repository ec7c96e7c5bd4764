import { writeSync } from 'node:fs';
import { systemClock } from './clock.ts';
import { type Duration, milliseconds } from './duration.ts';
import { errnoOf } from './errors.ts';

/** How long a line may wait for a reader that is behind. The whole agent waits with it. */
const PATIENCE = milliseconds(200);
const PAUSE = milliseconds(10);

const NOTHING = new Uint8Array();

/**
 * Writes the log to standard output, synchronously, and never throws: a full disk or a reader that has gone must not
 * reach the code that logs. A line that can't be written is dropped and counted; as soon as writing works again, one
 * line says how many were lost. A line that was cut is finished first.
 */
export class LogOutput {
  readonly #send: (bytes: Uint8Array) => number;
  readonly #format: (line: string) => string;
  /** The end of a line whose beginning has been written. */
  #rest: Uint8Array = NOTHING;
  #lost = 0;
  #why = '';
  /** None is left for a reader that has let a line wait in vain, until it reads again. */
  #patience: Duration = PATIENCE;

  /** @param send writes as much as it can, and returns how many bytes that was; as fs.writeSync */
  constructor(
    format: (line: string) => string = (line) => line,
    send: (bytes: Uint8Array) => number = (bytes) => writeSync(1, bytes),
  ) {
    this.#format = format;
    this.#send = send;
  }

  write(line: string): void {
    const begun = this.#finish() && this.#tellLoss() && this.#begin(this.#format(line));
    if (!begun) this.#lost += 1;
  }

  /** @returns whether nothing is left of the line before */
  #finish(): boolean {
    if (this.#rest.length > 0) this.#rest = this.#put(this.#rest);
    return this.#rest.length === 0;
  }

  #tellLoss(): boolean {
    if (this.#lost === 0) return true;
    const record = { level: 'warn', time: systemClock.now().toISOString(), lines: this.#lost, reason: this.#why };
    const line = JSON.stringify({ ...record, msg: 'Lost lines of the log: they could not be written.' });
    if (!this.#begin(this.#format(`${line}\n`))) return false;
    this.#lost = 0;
    return this.#rest.length === 0;
  }

  /** @returns whether the line is at least begun, so that it will be finished */
  #begin(line: string): boolean {
    const bytes = Buffer.from(line);
    const left = this.#put(bytes);
    const begun = left.length < bytes.length;
    this.#rest = begun ? left : NOTHING;
    return begun;
  }

  /** @returns what could not be written */
  #put(bytes: Uint8Array): Uint8Array {
    let left = bytes;
    let waited = 0;
    while (left.length > 0) {
      try {
        left = left.subarray(this.#send(left));
        this.#patience = PATIENCE;
      } catch (error) {
        this.#why = errnoOf(error) ?? String(error);
        if (this.#why !== 'EAGAIN') break;
        if (waited >= this.#patience) {
          this.#patience = milliseconds(0);
          break;
        }
        pause();
        waited += PAUSE;
      }
    }
    return left;
  }
}

/** Lets time pass without giving way to other code, which a synchronous write must not do. */
const pause = () => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE);
