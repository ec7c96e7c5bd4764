/** A literal that a rule needs in a field: the folded text, the field's slot, and the rule. */
export interface Needed {
  readonly slot: number;
  readonly text: string;
  readonly rule: number;
}

/** Longer literals are cut to their end: paths differ there, and the automaton stays small. */
const LONGEST = 8;
const MOST_STATES = 0xffff;

/**
 * Finds which literals are in a text, without regard to the case of ASCII, in one pass: Aho and Corasick, Efficient
 * String Matching, CACM 18:6, 1975. A table of states by classes of characters; characters that no literal has are one
 * class.
 */
export class LiteralSearch {
  readonly #classes = new Uint8Array(128);
  readonly #width: number;
  readonly #table: Uint16Array;
  /** By state: pairs of slot and rule. */
  readonly #outputs: (Int32Array | undefined)[];

  /** @param all none with an empty usable part, see {@link usable} */
  constructor(all: readonly Needed[]) {
    const cut = all.map(({ text, ...rest }) => ({ ...rest, text: usable(text) }));
    let width = 1;
    for (const { text } of cut) {
      for (let at = 0; at < text.length; at += 1) {
        const code = text.charCodeAt(at);
        if (this.#classes[code] === 0) this.#classes[code] = width++;
        if (code >= 65 && code <= 90) this.#classes[code + 32] = this.#classes[code] as number;
      }
    }
    this.#width = width;
    const nodes: { next: (number | undefined)[]; out: number[]; fail: number }[] = [{ next: [], out: [], fail: 0 }];
    for (const { text, slot, rule } of cut) {
      let at = 0;
      for (let i = 0; i < text.length; i += 1) {
        const kind = this.#classes[text.charCodeAt(i)] as number;
        const node = nodes[at] as (typeof nodes)[number];
        let next = node.next[kind];
        if (next === undefined) {
          if (nodes.length >= MOST_STATES) break; // a shorter literal selects more, and never less
          next = nodes.push({ next: [], out: [], fail: 0 }) - 1;
          node.next[kind] = next;
        }
        at = next;
      }
      nodes[at]?.out.push(slot, rule);
    }
    this.#table = new Uint16Array(nodes.length * width);
    this.#outputs = nodes.map(() => undefined);
    const queue = [0];
    for (let i = 0; i < queue.length; i += 1) {
      const at = queue[i] as number;
      const node = nodes[at] as (typeof nodes)[number];
      const fail = node.fail;
      if (at !== 0) node.out.push(...(nodes[fail]?.out ?? []));
      if (node.out.length > 0) this.#outputs[at] = Int32Array.from(node.out);
      for (let kind = 1; kind < width; kind += 1) {
        const next = node.next[kind];
        const byFail = at === 0 ? 0 : (this.#table[fail * width + kind] as number);
        this.#table[at * width + kind] = next ?? byFail;
        if (next === undefined) continue;
        (nodes[next] as (typeof nodes)[number]).fail = byFail;
        queue.push(next);
      }
    }
  }

  /** Calls `found` with each rule that needs a literal of this slot which is in the text; possibly more than once. */
  search(text: string, slot: number, found: (rule: number) => void): void {
    const table = this.#table;
    const classes = this.#classes;
    const width = this.#width;
    const outputs = this.#outputs;
    let state = 0;
    for (let at = 0; at < text.length; at += 1) {
      const code = text.charCodeAt(at);
      const kind = code < 128 ? (classes[code] as number) : 0;
      state = kind === 0 ? 0 : (table[state * width + kind] as number);
      const out = outputs[state];
      if (out === undefined) continue;
      for (let i = 0; i < out.length; i += 2) if (out[i] === slot) found(out[i + 1] as number);
    }
  }
}

/** The part of a literal that is searched for: the end of its longest run of ASCII; empty if it has none. */
export function usable(text: string): string {
  let longest = '';
  for (const [run] of text.matchAll(/[\0-\x7f]+/g)) if (run.length > longest.length) longest = run;
  return longest.slice(-LONGEST);
}
