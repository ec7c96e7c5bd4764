import { LiteralSearch, usable } from './literal-search.ts';

/** Gates of one slot, counted from 0. */
export interface Gates {
  /** The next one that is open, from this one on; their number if there is none. */
  next(from: number): number;
}

/**
 * The literals that rules and their tests need, and which of them are in the texts that are judged: each text is searched
 * once, for all of them.
 */
export class Literals {
  /** By slot and text. */
  readonly #ids: Map<string, number>[] = [];
  readonly #slots: number[] = [];
  readonly #texts: string[] = [];
  #search = new LiteralSearch([]);
  #marks = new Int32Array();
  /** By literal: the gates that it opens. */
  readonly #opens: number[][] = [];
  /** By gate: what marked it last. */
  readonly #gates: number[] = [];
  /** By slot: what marks a literal of the text that is there now. */
  readonly #stamps: number[] = [];
  #stamp = 0;

  /** @returns the number of a literal of a slot. @param text with a usable part */
  id(slot: number, text: string): number {
    const part = usable(text);
    this.#ids[slot] ??= new Map();
    const ids = this.#ids[slot];
    const known = ids.get(part);
    if (known !== undefined) return known;
    const id = this.#texts.push(part) - 1;
    this.#slots.push(slot);
    this.#opens.push([]);
    ids.set(part, id);
    return id;
  }

  /** @returns gates of a slot: each is open while the text of the slot has one of its literals */
  gates(slot: number, literals: readonly (readonly string[])[]): Gates {
    const first = this.#gates.length;
    for (const texts of literals) {
      const gate = this.#gates.push(0) - 1;
      for (const id of new Set(texts.map((text) => this.id(slot, text)))) this.#opens[id]?.push(gate);
    }
    const last = this.#gates.length;
    return {
      next: (from) => {
        const stamp = this.#stamps[slot];
        let gate = first + from;
        while (gate < last && this.#gates[gate] !== stamp) gate += 1;
        return gate - first;
      },
    };
  }

  /** To be called when all literals are known. @returns the slots that have any */
  seal(): readonly number[] {
    this.#search = new LiteralSearch(
      this.#texts.map((text, rule) => ({ text, slot: this.#slots[rule] as number, rule })),
    );
    this.#marks = new Int32Array(this.#texts.length);
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
}
