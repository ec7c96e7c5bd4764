import type { Moment } from '../../../../core/base/clock.ts';
import type { HashOmitted } from '../../../../core/contract/lookups.ts';
import type { FileState } from '../../../host/file-state.ts';
import { type Payer, ROOT } from '../../../host/hashing-time.ts';

/** A program's digest, or why it is left out. */
export type Digest =
  | { readonly sha256: string; readonly omitted: undefined }
  | { readonly sha256: undefined; readonly omitted: HashOmitted };

const omitted = (reason: HashOmitted): Digest => ({ sha256: undefined, omitted: reason });

const unreadable = omitted('unreadable');

/** By reason, and by what the lookup of a file came to. One shared object per reason, to avoid allocations. */
export const OMITTED = {
  size: omitted('size'),
  budget: omitted('budget'),
  unreadable,
  absent: unreadable,
  uncached: unreadable,
  mount: omitted('mount'),
} as const;

export const digestOf = (sha256: string): Digest => ({ sha256, omitted: undefined });

/** Digests kept, about 600 bytes each. */
const MAX_FILES = 1_024;
/** How many of them are kept for one user other than root. */
const MAX_FILES_OF_A_USER = 256;

export interface Known {
  readonly file: FileState;
  /** By the wall clock, in milliseconds, as is hashedAt. */
  readonly changedAt: number;
  /** The path by which its process referred to it. */
  readonly program: string;
  /** The user for whom it was first requested. */
  readonly payer: Payer;
  digest: Digest;
  /** When the file had this digest. */
  hashedAt: number;
  /** When the file was last looked up by its path, or a moment before. */
  seen: Moment;
  /** Whether it was requested since it was last considered for removal. */
  used: boolean;
}

/** Digests by key, within limits. A user who starts many new programs evicts only their own entries. */
export class KnownDigests {
  readonly #known = new Map<string, Known>();
  readonly #counts = new Map<Payer, number>();

  get(key: string): Known | undefined {
    return this.#known.get(key);
  }

  /** Removes the oldest entry that was not requested again. */
  put(key: string, known: Known): void {
    if (this.#known.get(key) !== known) {
      this.delete(key);
      this.#known.set(key, known);
      this.#counts.set(known.payer, this.#countOf(known.payer) + 1);
    }
    const { payer } = known;
    if (payer !== ROOT && this.#countOf(payer) > MAX_FILES_OF_A_USER) this.#forgetOne((other) => other.payer === payer);
    if (this.#known.size > MAX_FILES) this.#forgetOne(() => true);
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

  /** Removes the oldest eligible entry that was not used since it was last reached; ends, since reaching it resets that. */
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
