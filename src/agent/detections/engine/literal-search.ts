/** A literal in a field: the folded text, and the field's slot. */
export interface Needed {
  readonly slot: number;
  readonly text: string;
}

/** Longer literals are truncated to their end: paths differ there, and the automaton stays small. */
const MAX_LITERAL_CHARACTERS = 12;
const MAX_STATES = 0xffff;
/** States with more followers than this have a row of them. */
const FEW_FOLLOWERS = 3;

/**
 * The automaton of a search, as numbers. States are numbered by the length of their string, so that the followers of a state are
 * adjacent. Nearly all have a single follower: a row for each of 20,000 states would take megabytes.
 */
export interface SearchTables {
  /** Class of each ASCII character; 0 if no literal contains it. */
  readonly classes: Uint8Array;
  /** Class that leads to each state. */
  readonly kinds: Uint8Array;
  /** First follower of each state; the followers end where those of the next state start. */
  readonly followers: Uint16Array;
  /** Row with each state's followers by class, counted from 1; 0 if there are few. */
  readonly rows: Uint16Array;
  /** Rows, one after another; 0: no follower. */
  readonly row: Uint16Array;
  /** For each state, the state of its longest suffix that is a prefix of a literal. */
  readonly fails: Uint16Array;
  /** For each state, the literal end there, or the next one along `fails`, counted from 1; 0 if there is none. */
  readonly reports: Uint16Array;
  /** For each end, the next one along `fails`; 0 if there is none. */
  readonly next: Uint16Array;
  /** First literal of each end in `found`; the literals end where those of the next end start. */
  readonly ends: Uint32Array;
  readonly found: Uint32Array;
  /** Slot of each literal. */
  readonly slots: Uint16Array;
}

/** Builds the tables. @param all by literal, counted from 0; each has a usable part, see {@link usable} */
export function searchTables(all: readonly Needed[]): SearchTables {
  const byText = new Map<string, number[]>();
  for (const [literal, { text }] of all.entries()) {
    const part = usable(text);
    const same = byText.get(part);
    if (same === undefined) byText.set(part, [literal]);
    else same.push(literal);
  }
  const texts = [...byText.keys()].sort();
  const { classes, width } = classesOf(texts);
  const most = Math.min(MAX_STATES, 1 + statesOf(texts));
  const kinds = new Uint8Array(most);
  const followers = new Uint16Array(most + 1);
  const rows = new Uint16Array(most);
  const row: number[] = new Array(width).fill(0);
  const fails = new Uint16Array(most);
  const reports = new Uint16Array(most);
  const next: number[] = [0];
  const ends: number[] = [0];
  const found: number[] = [];
  const automaton = { followers, kinds, rows, row, fails, width };
  // For each state, the length of its string, and the strings that start with it.
  const lengths = new Uint8Array(most);
  const from = new Uint32Array(most);
  const to = new Uint32Array(most).fill(texts.length);
  for (let state = 0, count = 1; state < most; state += 1) {
    const length = lengths[state] as number;
    const first = count;
    const known = found.length;
    followers[state] = first;
    for (let at = from[state] as number; at < (to[state] as number); ) {
      const text = texts[at] as string;
      // Without space for more states, literals are shortened: they then select more, never less.
      if (text.length === length || count === most) {
        found.push(...(byText.get(text) as number[]));
        at += 1;
        continue;
      }
      lengths[count] = length + 1;
      kinds[count] = classes[text.charCodeAt(length)] as number;
      fails[count] = state === 0 ? 0 : stateAfter(automaton, fails[state] as number, kinds[count] as number);
      from[count] = at;
      while (at < (to[state] as number) && texts[at]?.charCodeAt(length) === text.charCodeAt(length)) at += 1;
      to[count] = at;
      count += 1;
    }
    followers[state + 1] = count;
    if (count - first > FEW_FOLLOWERS) {
      rows[state] = row.length / width;
      const begin = row.length;
      for (let kind = 0; kind < width; kind += 1) row.push(0);
      for (let follower = first; follower < count; follower += 1) row[begin + (kinds[follower] as number)] = follower;
    }
    const above = reports[fails[state] as number] as number;
    if (found.length === known) reports[state] = above;
    else {
      reports[state] = next.push(above) - 1;
      ends.push(known);
    }
  }
  ends.push(found.length);
  return {
    ...{ classes, kinds, followers, rows, fails, reports },
    row: Uint16Array.from(row),
    next: Uint16Array.from(next),
    ends: Uint32Array.from(ends),
    found: Uint32Array.from(found),
    slots: Uint16Array.from(all, ({ slot }) => slot),
  };
}

/** Characters in literals, by class; class 0 stands for all others. */
function classesOf(texts: readonly string[]): { readonly classes: Uint8Array; readonly width: number } {
  const classes = new Uint8Array(128);
  let width = 1;
  for (const text of texts) {
    for (let at = 0; at < text.length; at += 1) {
      const code = text.charCodeAt(at);
      if (classes[code] !== 0) continue;
      classes[code] = width;
      if (code >= 65 && code <= 90) classes[code + 32] = width;
      width += 1;
    }
  }
  return { classes, width };
}

interface Automaton extends Pick<SearchTables, 'followers' | 'kinds' | 'rows' | 'fails'> {
  readonly row: ArrayLike<number>;
  /** Size of a row. */
  readonly width: number;
}

/** The state after a character that a literal contains. */
function stateAfter({ followers, kinds, rows, row, fails, width }: Automaton, from: number, kind: number): number {
  for (let state = from; ; state = fails[state] as number) {
    const own = rows[state] as number;
    if (own !== 0) {
      const next = row[own * width + kind] as number;
      if (next !== 0) return next;
    } else {
      const end = followers[state + 1] as number;
      for (let next = followers[state] as number; next < end; next += 1) if (kinds[next] === kind) return next;
    }
    if (state === 0) return 0;
  }
}

/**
 * Finds the literals in a text, ignoring ASCII case, in one pass: Aho and Corasick, Efficient
 * String Matching, CACM 18:6, 1975.
 */
export class LiteralSearch {
  readonly #tables: SearchTables;
  readonly #automaton: Automaton;
  /** The last search that reached each end. Ends that follow along `fails` were reached with it. */
  readonly #seen: Int32Array;
  #searches = 0;

  constructor(tables: SearchTables) {
    this.#tables = tables;
    this.#seen = new Int32Array(tables.ends.length);
    this.#automaton = { ...tables, width: 1 + Math.max(...tables.classes) };
  }

  /** Calls `found` once for each literal of this slot in the text. */
  search(text: string, slot: number, found: (literal: number) => void): void {
    const { classes, reports, next, ends, found: literals, slots } = this.#tables;
    const automaton = this.#automaton;
    const seen = this.#seen;
    if (this.#searches === 0x7fffffff) {
      seen.fill(0);
      this.#searches = 0;
    }
    const search = ++this.#searches;
    let state = 0;
    for (let at = 0; at < text.length; at += 1) {
      const code = text.charCodeAt(at);
      const kind = code < 128 ? (classes[code] as number) : 0;
      state = kind === 0 ? 0 : stateAfter(automaton, state, kind);
      for (let end = reports[state] as number; end !== 0 && seen[end] !== search; end = next[end] as number) {
        seen[end] = search;
        const last = ends[end + 1] as number;
        for (let i = ends[end] as number; i < last; i += 1) {
          const literal = literals[i] as number;
          if (slots[literal] === slot) found(literal);
        }
      }
    }
  }
}

/** Number of states for sorted strings: each adds the part that it does not share with the previous one. */
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

/** The part of a literal that is searched for: the end of its longest run of ASCII; empty without any ASCII. */
export function usable(text: string): string {
  if (ASCII.test(text)) return text.slice(-MAX_LITERAL_CHARACTERS);
  let longest = '';
  for (const [run] of text.matchAll(/[\0-\x7f]+/g)) if (run.length > longest.length) longest = run;
  return longest.slice(-MAX_LITERAL_CHARACTERS);
}
