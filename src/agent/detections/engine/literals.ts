import { LiteralSearch, type SearchTables, searchTables, usable } from './literal-search.ts';

/** Gates of one slot, counted from 0. */
export interface Gates {
  /** The next open gate, starting with this one; the number of gates if there is none. */
  next(from: number): number;
}

/** The tables of literals, as numbers. */
export interface LiteralTables extends SearchTables {
  /** First gate in `gates` that each literal opens; the gates end where those of the next literal start. */
  readonly opens: Uint32Array;
  readonly gates: Uint32Array;
  /** Gates that are always open. */
  readonly open: Uint32Array;
  /** First rule in `rules` that each literal makes a candidate; the rules end where those of the next literal start. */
  readonly selects: Uint32Array;
  readonly rules: Uint32Array;
}

/** Collects the literals that rules and their tests need. */
export class LiteralCollector {
  /** Keyed by slot and string. */
  readonly #ids: Map<string, number>[] = [];
  readonly #all: { readonly slot: number; readonly text: string }[] = [];
  readonly #gates: number[][] = [];
  readonly #open: number[] = [];
  readonly #rules: number[][] = [];
  #gateCount = 0;

  #id(slot: number, text: string): number {
    const part = usable(text);
    this.#ids[slot] ??= new Map();
    const ids = this.#ids[slot];
    const known = ids.get(part);
    if (known !== undefined) return known;
    const id = this.#all.push({ slot, text: part }) - 1;
    this.#gates.push([]);
    this.#rules.push([]);
    ids.set(part, id);
    return id;
  }

  /** The number of gates, which is the number of the next gate. */
  get gateCount(): number {
    return this.#gateCount;
  }

  /**
   * A gate that is open while the text of the slot contains one of these literals.
   *
   * @param alternatives strings with a usable part; `undefined` for a gate that is always open
   */
  gate(slot: number, alternatives: readonly string[] | undefined): void {
    const gate = this.#gateCount++;
    if (alternatives === undefined) this.#open.push(gate);
    else for (const id of new Set(alternatives.map((text) => this.#id(slot, text)))) this.#gates[id]?.push(gate);
  }

  /** Adds a literal that makes a rule a candidate. @param text with a usable part */
  select(slot: number, text: string, rule: number): void {
    const rules = this.#rules[this.#id(slot, text)];
    if (rules?.includes(rule) === false) rules.push(rule);
  }

  tables(): LiteralTables {
    const [opens, gates] = flat(this.#gates);
    const [selects, rules] = flat(this.#rules);
    return { ...searchTables(this.#all), opens, gates, open: Uint32Array.from(this.#open), selects, rules };
  }
}

/** Concatenated lists, and the start of each. */
function flat(lists: readonly (readonly number[])[]): [Uint32Array, Uint32Array] {
  const begins = new Uint32Array(lists.length + 1);
  for (const [index, list] of lists.entries()) begins[index + 1] = (begins[index] as number) + list.length;
  return [begins, Uint32Array.from(lists.flat())];
}

/** Mark of a gate that is always open. */
const ALWAYS = -1;

/**
 * The literals that rules and their tests need, and which of them the current fields contain: each field is searched once for all
 * literals.
 */
export class Literals {
  readonly #tables: LiteralTables;
  readonly #search: LiteralSearch;
  /** The last mark of each gate. */
  readonly #gates: Int32Array;
  /** The mark of literals in the current text of each slot. */
  readonly #stamps: number[] = [];
  #stamp = 0;

  constructor(tables: LiteralTables, gates: number) {
    this.#tables = tables;
    this.#search = new LiteralSearch(tables);
    this.#gates = new Int32Array(gates);
    this.#clear();
  }

  /** The slots that have literals. */
  get slots(): readonly number[] {
    return [...new Set(this.#tables.slots)];
  }

  /** A range of gates of a slot, starting with this one. */
  gates(slot: number, first: number, count: number): Gates {
    return {
      next: (from) => {
        const gates = this.#gates;
        const stamp = this.#stamps[slot];
        let gate = from;
        while (gate < count && gates[first + gate] !== stamp && gates[first + gate] !== ALWAYS) gate += 1;
        return gate;
      },
    };
  }

  /** Searches the current text of a slot. @param found called once with the rules of each literal */
  read(slot: number, text: string | undefined, found: (rule: number) => void): void {
    if (this.#stamp === 0x7fffffff) this.#clear();
    const stamp = ++this.#stamp;
    this.#stamps[slot] = stamp;
    if (text === undefined) return;
    const { opens, gates, selects, rules } = this.#tables;
    this.#search.search(text, slot, (literal) => {
      const lastGate = opens[literal + 1] as number;
      for (let i = opens[literal] as number; i < lastGate; i += 1) this.#gates[gates[i] as number] = stamp;
      const lastRule = selects[literal + 1] as number;
      for (let i = selects[literal] as number; i < lastRule; i += 1) found(rules[i] as number);
    });
  }

  #clear(): void {
    this.#gates.fill(0);
    for (const gate of this.#tables.open) this.#gates[gate] = ALWAYS;
    this.#stamps.fill(0);
    this.#stamp = 0;
  }
}
