import { fold } from '../../pattern/ranges.ts';
import { MATCHED_RANGE } from '../sigma/modifiers.ts';

const NONE: readonly string[] = [];

/** The fields of one event, or of one view of it, by slot; each is read on demand. */
export class Row {
  readonly #values: (string | undefined)[] = [];
  readonly #folded: (string | undefined)[] = [];
  readonly #isRead: boolean[] = [];
  #read: (slot: number) => string | undefined = () => undefined;
  #readAll: () => readonly string[] = () => [];
  #all: readonly string[] | undefined;
  #allFolded: readonly string[] | undefined;
  /** Whether an expression saw only a part of a text since the last reset. */
  cut = false;

  /** Resets the row for another event with this many slots. @param readAll returns all values, including those without a slot */
  clear(slots: number, read: (slot: number) => string | undefined, readAll: () => readonly string[]): void {
    this.#values.length = slots;
    this.#folded.length = slots;
    this.#isRead.length = slots;
    this.#isRead.fill(false);
    this.#read = read;
    this.#readAll = readAll;
    this.#all = undefined;
    this.#allFolded = undefined;
  }

  /** Resets the slots that can differ in another view of the same event. */
  forget(slots: readonly number[]): void {
    for (const slot of slots) this.#isRead[slot] = false;
    this.#all = undefined;
    this.#allFolded = undefined;
  }

  /** Length of all values that were read, except keywords, which count separately. */
  get length(): number {
    let length = 0;
    for (const value of this.#all ?? NONE) length += value.length;
    for (let slot = 0; slot < this.#values.length; slot += 1) length += this.#lengthOf(slot);
    return length;
  }

  /** Length of the values of these slots that were read. */
  lengthOf(slots: readonly number[]): number {
    let length = 0;
    for (const slot of slots) length += this.#lengthOf(slot);
    return length;
  }

  #lengthOf(slot: number): number {
    return this.#isRead[slot] === true ? (this.#values[slot]?.length ?? 0) : 0;
  }

  text(slot: number): string | undefined {
    if (this.#isRead[slot] !== true) {
      this.#values[slot] = this.#read(slot);
      this.#folded[slot] = undefined;
      this.#isRead[slot] = true;
    }
    return this.#values[slot];
  }

  folded(slot: number): string | undefined {
    const value = this.text(slot);
    if (value === undefined) return undefined;
    let folded = this.#folded[slot];
    if (folded === undefined) {
      folded = fold(value);
      this.#folded[slot] = folded;
    }
    return folded;
  }

  /** The text for expressions: the head and the tail of a long text, separated by a line end. */
  matchedText(slot: number): string | undefined {
    const value = this.text(slot);
    if (value === undefined || value.length <= MATCHED_RANGE.head + MATCHED_RANGE.tail) return value;
    this.cut = true;
    return `${value.slice(0, MATCHED_RANGE.head)}\n${value.slice(-MATCHED_RANGE.tail)}`;
  }

  /** All values of the event in this view, for keywords. */
  all(cased: boolean): readonly string[] {
    this.#all ??= this.#readAll();
    if (cased) return this.#all;
    this.#allFolded ??= this.#all.map(fold);
    return this.#allFolded;
  }
}
