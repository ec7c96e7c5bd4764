/** A literal that a rule needs in a field: the folded text, the field's slot, and the rule. */
export interface Needed {
  readonly slot: number;
  readonly text: string;
  readonly rule: number;
}

/** Longer literals are cut to their end: paths differ there, and the automaton stays small. */
const LONGEST = 12;
const MOST_STATES = 0xffff;
/** A state with more followers has a table of them. */
const FEW = 3;

/**
 * Finds which literals are in a text, without regard to the case of ASCII, in one pass: Aho and Corasick, Efficient
 * String Matching, CACM 18:6, 1975. Characters are told apart by class; those that no literal has are class 0.
 *
 * States are numbered in the order of the length of their text, so that the followers of one stand together. Nearly all have one
 * follower: to give each of 20,000 states a table would take megabytes, and most of the time to load.
 */
export class LiteralSearch {
  readonly #classes = new Uint8Array(128);
  #width = 1;
  /** By state: the class that leads to it. */
  readonly #kinds: Uint8Array;
  /** By state: its first follower; they end where those of the next state begin. */
  readonly #followers: Uint16Array;
  /** By state: where its table begins; 0: it has few followers. */
  readonly #tables: Uint32Array;
  /** Followers by class; 0: none. */
  readonly #table: number[] = [0];
  /** By state: that of the longest end of its text which begins a literal, too. */
  readonly #fails: Uint16Array;
  /** By state: the first of the literals that end there, in `#needed`; they end where those of the next state begin. */
  readonly #ends: Uint32Array;
  /** By state: itself, or else the next one on the way of `#fails`, if literals end there; 0: none do. */
  readonly #reports: Uint16Array;
  readonly #needed: Needed[] = [];

  /** @param all none with an empty usable part, see {@link usable} */
  constructor(all: readonly Needed[]) {
    const byText = new Map<string, Needed[]>();
    for (const each of all) {
      const text = usable(each.text);
      const same = byText.get(text);
      if (same === undefined) byText.set(text, [each]);
      else same.push(each);
    }
    const texts = [...byText.keys()].sort();
    this.#readClasses(texts);
    const most = Math.min(MOST_STATES, 1 + statesOf(texts));
    this.#kinds = new Uint8Array(most);
    this.#followers = new Uint16Array(most + 1);
    this.#tables = new Uint32Array(most);
    this.#fails = new Uint16Array(most);
    this.#ends = new Uint32Array(most + 1);
    this.#reports = new Uint16Array(most);
    // By state: how long its text is, and the texts that begin with it.
    const lengths = new Uint8Array(most);
    const from = new Uint32Array(most);
    const to = new Uint32Array(most).fill(texts.length);
    for (let state = 0, count = 1; state < most; state += 1) {
      const length = lengths[state] as number;
      const first = count;
      this.#followers[state] = first;
      for (let at = from[state] as number; at < (to[state] as number); ) {
        const text = texts[at] as string;
        // Without room for more states, literals end early: they select more then, and never less.
        if (text.length === length || count === most) {
          this.#needed.push(...(byText.get(text) as Needed[]));
          at += 1;
          continue;
        }
        lengths[count] = length + 1;
        this.#kinds[count] = this.#classes[text.charCodeAt(length)] as number;
        this.#fails[count] = state === 0 ? 0 : this.#next(this.#fails[state] as number, this.#kinds[count] as number);
        from[count] = at;
        while (at < (to[state] as number) && texts[at]?.charCodeAt(length) === text.charCodeAt(length)) at += 1;
        to[count] = at;
        count += 1;
      }
      this.#followers[state + 1] = count;
      if (count - first > FEW) this.#addTable(state);
      this.#ends[state + 1] = this.#needed.length;
      const isEnd = this.#needed.length > (this.#ends[state] as number);
      this.#reports[state] = isEnd ? state : (this.#reports[this.#fails[state] as number] as number);
    }
  }

  #readClasses(texts: readonly string[]): void {
    for (const text of texts) {
      for (let at = 0; at < text.length; at += 1) {
        const code = text.charCodeAt(at);
        if (this.#classes[code] !== 0) continue;
        this.#classes[code] = this.#width;
        if (code >= 65 && code <= 90) this.#classes[code + 32] = this.#width;
        this.#width += 1;
      }
    }
  }

  #addTable(state: number): void {
    const begin = this.#table.length;
    for (let kind = 0; kind < this.#width; kind += 1) this.#table.push(0);
    const end = this.#followers[state + 1] as number;
    for (let next = this.#followers[state] as number; next < end; next += 1)
      this.#table[begin + (this.#kinds[next] as number)] = next;
    this.#tables[state] = begin;
  }

  /** The state after a character that some literal has. */
  #next(from: number, kind: number): number {
    for (let state = from; ; state = this.#fails[state] as number) {
      const begin = this.#tables[state] as number;
      if (begin !== 0) {
        const next = this.#table[begin + kind] as number;
        if (next !== 0) return next;
      } else {
        const end = this.#followers[state + 1] as number;
        for (let next = this.#followers[state] as number; next < end; next += 1)
          if (this.#kinds[next] === kind) return next;
      }
      if (state === 0) return 0;
    }
  }

  /** Calls `found` with each rule that needs a literal of this slot which is in the text; possibly more than once. */
  search(text: string, slot: number, found: (rule: number) => void): void {
    let state = 0;
    for (let at = 0; at < text.length; at += 1) {
      const code = text.charCodeAt(at);
      const kind = code < 128 ? (this.#classes[code] as number) : 0;
      state = kind === 0 ? 0 : this.#next(state, kind);
      for (let end = this.#reports[state] as number; end !== 0; ) {
        for (let i = this.#ends[end] as number; i < (this.#ends[end + 1] as number); i += 1) {
          const needed = this.#needed[i] as Needed;
          if (needed.slot === slot) found(needed.rule);
        }
        end = this.#reports[this.#fails[end] as number] as number;
      }
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
