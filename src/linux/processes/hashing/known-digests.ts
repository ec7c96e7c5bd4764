import type { Moment } from '../../../base/clock.ts';
import { seconds } from '../../../base/duration.ts';
import type { FileState } from '../../../host/file-state.ts';
import type { Digest } from './digest.ts';
import { type Payer, ROOT } from './hashing-time.ts';

/**
 * Times of files and of audit come from the kernel's clock tick, of at most 10 ms; those of FAT have 2 s. Two changes
 * within one look like one: what was hashed sooner after a change than this may have changed once more unseen.
 */
export const COARSEST_TIME = seconds(2);

/** Files whose digest is remembered. Each costs some 600 bytes. */
const MOST_FILES = 1_024;
/** How many of them one user other than root can have brought in. */
const MOST_OF_A_USER = 256;

export interface Known {
  readonly file: FileState;
  /** By the wall clock, in milliseconds, as is hashedAt. */
  readonly changedAt: number;
  /** The path its process said it has. */
  readonly program: string;
  /** Who it was first asked for. */
  readonly payer: Payer;
  digest: Digest;
  /** When it was found to have this digest. */
  hashedAt: number;
  /** When the file was last looked at by its path, or a moment before. */
  seen: Moment;
  /** Asked for since this was last considered for removal. */
  used: boolean;
}

/** Digests by key, as many as there is room for. A user who starts ever new programs pushes out only his own. */
export class KnownDigests {
  readonly #known = new Map<string, Known>();
  readonly #counts = new Map<Payer, number>();

  get(key: string): Known | undefined {
    return this.#known.get(key);
  }

  /** Makes room by giving up the oldest that hasn't been asked for again. */
  put(key: string, known: Known): void {
    if (this.#known.get(key) !== known) {
      this.delete(key);
      this.#known.set(key, known);
      this.#counts.set(known.payer, this.#countOf(known.payer) + 1);
    }
    const { payer } = known;
    if (payer !== ROOT && this.#countOf(payer) > MOST_OF_A_USER) this.#forgetOne((other) => other.payer === payer);
    if (this.#known.size > MOST_FILES) this.#forgetOne(() => true);
  }

  delete(key: string): void {
    const known = this.#known.get(key);
    if (known === undefined) return;
    this.#known.delete(key);
    const count = this.#countOf(known.payer) - 1;
    if (count > 0) this.#counts.set(known.payer, count);
    else this.#counts.delete(known.payer);
  }

  #countOf(payer: Payer): number {
    return this.#counts.get(payer) ?? 0;
  }

  /** The second time an entry is come upon, it hasn't been used since the first: so this ends. */
  #forgetOne(isEligible: (known: Known) => boolean): void {
    for (const [key, known] of this.#known) {
      if (!isEligible(known)) continue;
      if (!known.used) {
        this.delete(key);
        return;
      }
      known.used = false;
      this.#known.delete(key);
      this.#known.set(key, known);
    }
  }
}
