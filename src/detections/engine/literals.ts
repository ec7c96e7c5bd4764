import { LiteralSearch, usable } from './literal-search.ts';

/**
 * The literals that rules and their tests need, and which of them are in the texts that are judged: each text is searched
 * once, for all of them.
 */
export class Literals {
  readonly #ids = new Map<string, number>();
  readonly #slots: number[] = [];
  readonly #texts: string[] = [];
  #search = new LiteralSearch([]);
  #marks = new Int32Array();
  /** By literal: the gates that it opens. */
  readonly #opens: number[][] = [];
  readonly #slotOfGate: number[] = [];
  #gates = new Int32Array();
  /** By slot: what marks a literal of the text that is there now. */
  readonly #stamps: number[] = [];
  #stamp = 0;

  /** @returns the number of a literal of a slot. @param text with a usable part */
  id(slot: number, text: string): number {
    const part = usable(text);
    const key = `${slot} ${part}`;
    const known = this.#ids.get(key);
    if (known !== undefined) return known;
    const id = this.#texts.push(part) - 1;
    this.#slots.push(slot);
    this.#opens.push([]);
    this.#ids.set(key, id);
    return id;
  }

  /** @returns the number of a gate: it is open while the text of the slot has one of the literals */
  gate(slot: number, texts: readonly string[]): number {
    const gate = this.#slotOfGate.push(slot) - 1;
    for (const id of new Set(texts.map((text) => this.id(slot, text)))) this.#opens[id]?.push(gate);
    return gate;
  }

  /** To be called when all literals are known. @returns the slots that have any */
  seal(): readonly number[] {
    this.#search = new LiteralSearch(
      this.#texts.map((text, rule) => ({ text, slot: this.#slots[rule] as number, rule })),
    );
    this.#marks = new Int32Array(this.#texts.length);
    this.#gates = new Int32Array(this.#slotOfGate.length);
    return [...new Set(this.#slots)];
  }

  get count(): number {
    return this.#texts.length;
  }

  /** Searches the text that a slot has now. @param found is told each literal once */
  read(slot: number, text: string | undefined, found: (id: number) => void): void {
    if (this.#stamp === 0x7fffffff) {
      this.#marks.fill(0);
      this.#gates.fill(0);
      this.#stamps.fill(0);
      this.#stamp = 0;
    }
    const stamp = ++this.#stamp;
    this.#stamps[slot] = stamp;
    if (text === undefined) return;
    const marks = this.#marks;
    this.#search.search(text, slot, (id) => {
      if (marks[id] === stamp) return;
      marks[id] = stamp;
      for (const gate of this.#opens[id] as readonly number[]) this.#gates[gate] = stamp;
      found(id);
    });
  }

  isOpen(gate: number): boolean {
    return this.#gates[gate] === this.#stamps[this.#slotOfGate[gate] as number];
  }
}
