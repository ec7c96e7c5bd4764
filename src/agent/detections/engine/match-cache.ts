import { copied } from '../../../core/base/values.ts';

/** Of both generations together. */
const MAX_ENTRIES = 2_048;
/** Longer keys are not kept: they rarely come again, and a burst of them would push out all others. */
const LONGEST_KEY = 4_096;
/** Of a value; larger ones are not kept, either. */
const MAX_VALUE_CHARACTERS = 16_384;
/** Of all keys and values of a generation. */
const MAX_CHARACTERS = 1_024 * 1_024;

/** What the cache must know of its values. */
interface Kind<T> {
  /** In characters. */
  readonly sizeOf: (value: T) => number;
  /** The same, with texts of its own. */
  readonly copy: (value: T) => T;
}

/**
 * Values by text, the least recently used dropped: in two generations. A full one replaces the older, whose entries come
 * back when they are used.
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
