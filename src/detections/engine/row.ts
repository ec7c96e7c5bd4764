import { fold } from '../../base/pattern/ranges.ts';
import { JUDGED } from '../sigma/modifiers.ts';

/** The fields of one event, or of one reading of it, by slot; filled anew for each. */
export class Row {
  readonly #values: (string | undefined)[] = [];
  readonly #folded: (string | undefined)[] = [];
  /** Whether an expression got a part of a text only, since it was last reset. */
  cut = false;

  /** For another event, with so many slots. */
  clear(slots: number): void {
    this.#values.length = slots;
    this.#folded.length = slots;
    this.#values.fill(undefined);
    this.#folded.fill(undefined);
  }

  /** Of all values. */
  get length(): number {
    let length = 0;
    for (const value of this.#values) length += value?.length ?? 0;
    return length;
  }

  set(slot: number, value: string | undefined): void {
    this.#values[slot] = value;
    this.#folded[slot] = undefined;
  }

  text(slot: number): string | undefined {
    return this.#values[slot];
  }

  folded(slot: number): string | undefined {
    const value = this.#values[slot];
    if (value === undefined) return undefined;
    let folded = this.#folded[slot];
    if (folded === undefined) {
      folded = fold(value);
      this.#folded[slot] = folded;
    }
    return folded;
  }

  /** What expressions are matched on: the head and the tail of a long text, with a line end between. */
  judged(slot: number): string | undefined {
    const value = this.#values[slot];
    if (value === undefined || value.length <= JUDGED.head + JUDGED.tail) return value;
    this.cut = true;
    return `${value.slice(0, JUDGED.head)}\n${value.slice(-JUDGED.tail)}`;
  }

  /** All values, for keywords. */
  all(cased: boolean): string[] {
    const all: string[] = [];
    for (let slot = 0; slot < this.#values.length; slot += 1) {
      const value = cased ? this.text(slot) : this.folded(slot);
      if (value !== undefined) all.push(value);
    }
    return all;
  }
}
