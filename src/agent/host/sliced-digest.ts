import { createHash } from 'node:crypto';
import { closeSync, fstatSync, read } from 'node:fs';
import { promisify } from 'node:util';
import type { Clock } from '../../core/base/clock.ts';
import { type FileState, isSame } from './file-state.ts';
import type { Allowance } from './hashing-time.ts';

/** The digest in hexadecimal, or why there is none. */
export type DigestOutcome = { readonly sha256: string } | 'changed' | 'unreadable';

const readAsync = promisify(read);

/** The SHA-256 digest of one state of a file, which is read slice by slice within a time budget, by another thread. */
export class SlicedDigest {
  readonly #file: number;
  readonly #state: FileState;
  readonly #allowance: Allowance;
  readonly #clock: Clock;
  readonly #digest = createHash('sha256');
  #total = 0;

  /** @param options.file an open descriptor; closed with the outcome */
  constructor(options: { file: number; state: FileState; allowance: Allowance; clock: Clock }) {
    this.#file = options.file;
    this.#state = options.state;
    this.#allowance = options.allowance;
    this.#clock = options.clock;
  }

  /**
   * Reads until the time budget is used up except for what is reserved, but once at least. Never rejects; not to be called
   * again after the outcome.
   *
   * @param buffer what is read at a time
   * @returns `undefined` when there is more to read
   */
  async read(buffer: Buffer): Promise<DigestOutcome | undefined> {
    let isDone = true;
    try {
      for (let since = this.#clock.monotonic(); ; ) {
        const { bytesRead } = await readAsync(this.#file, buffer, 0, buffer.length, null);
        this.#digest.update(buffer.subarray(0, bytesRead));
        since = this.#allowance.pay(since);
        this.#total += bytesRead;
        if (bytesRead === 0) break;
        if (this.#total > this.#state.size) return 'changed';
        if (this.#allowance.left() >= this.#allowance.reserved) continue;
        isDone = false;
        return undefined;
      }
      const isUnchanged = isSame(fstatSync(this.#file, { bigint: true }), this.#state);
      return isUnchanged ? { sha256: this.#digest.digest('hex') } : 'changed';
    } catch {
      return 'unreadable';
    } finally {
      if (isDone) closeSync(this.#file);
    }
  }
}
