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
    const texts = [...new Set(cut.map(({ text }) => text))].sort();
    const states = Math.min(MOST_STATES, 1 + statesOf(texts));
    const table = new Uint16Array(states * width);
    const ends = new Map<string, number>();
    let count = 1;
    for (const text of texts) {
      let at = 0;
      for (let i = 0; i < text.length; i += 1) {
        const place = at * width + (this.#classes[text.charCodeAt(i)] as number);
        if (table[place] === 0) {
          if (count >= states) break; // a shorter literal selects more, and never less
          table[place] = count++;
        }
        at = table[place] as number;
      }
      ends.set(text, at);
    }
    const own: (number[] | undefined)[] = new Array(count);
    for (const { text, slot, rule } of cut) {
      const at = ends.get(text) as number;
      const out = own[at];
      if (out === undefined) own[at] = [slot, rule];
      else out.push(slot, rule);
    }
    this.#outputs = new Array(count);
    const fails = new Uint16Array(count);
    const queue = new Uint16Array(count);
    for (let next = 0, known = 1; next < known; next += 1) {
      const at = queue[next] as number;
      const fail = fails[at] as number;
      const byFail = at === 0 ? undefined : this.#outputs[fail];
      const out = own[at];
      this.#outputs[at] = out === undefined ? byFail : Int32Array.of(...out, ...(byFail ?? []));
      for (let kind = 1; kind < width; kind += 1) {
        const place = at * width + kind;
        const child = table[place] as number;
        const target = at === 0 ? 0 : (table[fail * width + kind] as number);
        if (child === 0) table[place] = target;
        else {
          fails[child] = target;
          queue[known++] = child;
        }
      }
    }
    this.#table = table;
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

/** How many states texts in order have: each one adds what it does not share with the one before. */
function statesOf(texts: readonly string[]): number {
  let states = 0;
  let before = '';
  for (const text of texts) {
    let shared = 0;
    while (shared < text.length && text[shared] === before[shared]) shared += 1;
    states += text.length - shared;
    before = text;
  }
  return states;
}

const ASCII = /^[\0-\x7f]*$/;

/** The part of a literal that is searched for: the end of its longest run of ASCII; empty if it has none. */
export function usable(text: string): string {
  if (ASCII.test(text)) return text.slice(-LONGEST);
  let longest = '';
  for (const [run] of text.matchAll(/[\0-\x7f]+/g)) if (run.length > longest.length) longest = run;
  return longest.slice(-LONGEST);
}
