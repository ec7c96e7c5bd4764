import { copied } from '../../../core/base/values.ts';

/** Limit for both generations together. */
const MAX_ENTRIES = 2_048;
/** Longer keys are not cached: they rarely recur, and a burst of them would displace all others. */
const LONGEST_KEY = 4_096;
/** Limit per value; larger ones are not cached. */
const MAX_VALUE_CHARACTERS = 16_384;
/** Limit for all keys and values of a generation. */
const MAX_CHARACTERS = 1_024 * 1_024;

/** Functions on the cached values. */
interface Kind<T> {
  /** In characters. */
  readonly sizeOf: (value: T) => number;
  /** A deep copy with its own strings. */
  readonly copy: (value: T) => T;
}

/**
 * A cache with string keys that drops the least recently used values, in two generations. A full generation replaces the older
 * one, whose entries return when they are used.
 */
export class MatchCache<T> {
  readonly #kind: Kind<T>;
  #young = new Map<string, T>();
  #old = new Map<string, T>();
  #characters = 0;

  constructor(kind: Kind<T>) {
    this.#kind = kind;
  }

  get(key: string): T | undefined {
    if (key.length > LONGEST_KEY) return undefined;
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.#add(key, old, this.#kind.sizeOf(old));
    return old;
  }

  set(key: string, value: T): void {
    if (key.length > LONGEST_KEY) return;
    const size = this.#kind.sizeOf(value);
    if (size <= MAX_VALUE_CHARACTERS) this.#add(key, this.#kind.copy(value), size);
  }

  #add(key: string, value: T, size: number): void {
    const characters = key.length + size;
    if (this.#young.size >= MAX_ENTRIES / 2 || this.#characters + characters > MAX_CHARACTERS) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#characters = 0;
    }
    this.#young.set(copied(key), value);
    this.#characters += characters;
  }

  clear(): void {
    this.#young = new Map();
    this.#old = new Map();
    this.#characters = 0;
  }
}
