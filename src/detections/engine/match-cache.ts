/** Of both generations together. */
const MAX_ENTRIES = 2_048;
/** Longer keys are not kept: they rarely come again, and a burst of them would push out all others. */
const LONGEST_KEY = 4_096;
/** Of all keys of a generation. */
const MAX_CHARACTERS = 512 * 1_024;

/**
 * Values by text, the least recently used dropped: in two generations. A full one replaces the older, whose entries come
 * back when they are used.
 */
export class MatchCache<T> {
  #young = new Map<string, T>();
  #old = new Map<string, T>();
  #characters = 0;

  get(key: string): T | undefined {
    if (key.length > LONGEST_KEY) return undefined;
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.set(key, old);
    return old;
  }

  set(key: string, value: T): void {
    if (key.length > LONGEST_KEY) return;
    if (this.#young.size >= MAX_ENTRIES / 2 || this.#characters + key.length > MAX_CHARACTERS) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#characters = 0;
    }
    this.#young.set(key, value);
    this.#characters += key.length;
  }

  clear(): void {
    this.#young = new Map();
    this.#old = new Map();
    this.#characters = 0;
  }
}
