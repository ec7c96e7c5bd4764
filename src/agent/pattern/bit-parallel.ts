/* The search of an automaton with all its states at once, one bit each: takes the same time for every text. It is Glushkov's
 * automaton (The abstract theory of automata, 1961), as in Navarro and Raffinot, Flexible Pattern Matching in Strings, 5.2:
 * bits stand for states that have just read a character.
 *
 * Most states are followed by the next one, so that one shift moves all of them. Other followers are the same for many states,
 * such as those of all ends of alternatives: these share one row.
 */

/** Kinds of characters; one of them stands for none, and one for a line feed that is the last character. */
const KINDS = 5;
export const NO_CHARACTER = 0;
export const LAST_LINE_FEED = 4;
export const LINE_FEED = 10;
/** Where each set of states is in the table of a step, in sets; and where the rows begin. */
const ACCEPTS = 0;
const FIRST = 1;
const SHIFTS = 2;
const BRANCHES = 3;
const ROWS = 4;
/** What V8 needs for each table besides its content, about. */
const BYTES_OF_TABLE = 200;

/** What follows, between characters of two kinds. */
export interface Follows {
  /** Followers of each reading state, in order: the states that can read next; `undefined`: the string matches. */
  readonly of: readonly (readonly number[] | undefined)[];
  /** The same at the begin of a match. */
  readonly first: readonly number[] | undefined;
}

interface Step {
  /**
   * One table, since small ones take more for themselves. It begins with four sets of states, of `#words` each: those that
   * accept, those that are first, those that the next one follows, and those that others follow as well. Then come rows:
   * some of the last, and what follows them besides the next one; each as the number of its words, and pairs of a word and
   * its bits.
   */
  readonly table: Int32Array;
  readonly firstAccepts: boolean;
  /** How many words are read at most. */
  readonly operations: number;
}

/** An automaton that reads. Its states are those that read a character, counted from 0. */
export interface Reading {
  /** Number of the set of characters that a state reads, keyed by state. */
  readonly sets: Uint16Array;
  /** Whether a set of characters has a class, 1 or 0; keyed by set and class. */
  readonly takes: Uint8Array;
  /** How many classes of characters there are. */
  readonly classes: number;
  follows(before: number, behind: number): Follows;
}

export class BitParallel {
  readonly #words: number;
  /** States that read a class of characters, in `#words` words; keyed by class. */
  readonly #takes: Int32Array;
  readonly #follows: (before: number, behind: number) => Follows;
  readonly #steps: (Step | undefined)[] = [];
  #now: Int32Array;
  #next: Int32Array;
  /** How much memory all tables take, about. */
  bytes: number;

  constructor({ sets, takes, classes, follows }: Reading) {
    this.#words = (sets.length >> 5) + 1;
    const ofSet = Array.from({ length: takes.length / classes }, () => new Int32Array(this.#words));
    for (const [state, set] of sets.entries()) add(ofSet[set] as Int32Array, state);
    this.#takes = new Int32Array(classes * this.#words);
    for (const [set, states] of ofSet.entries())
      for (let index = 0; index < classes; index += 1)
        if (takes[set * classes + index] === 1) join(this.#takes, index * this.#words, states);
    this.#follows = follows;
    this.bytes = sizeOf(this.#takes);
    this.#now = new Int32Array(this.#words);
    this.#next = new Int32Array(this.#words);
  }

  /** Operations for one character between characters of these kinds. */
  cost(before: number, behind: number): number {
    return this.#step(before, behind).operations;
  }

  /** @param classOf of a character @param kindOf of a class */
  matches(line: string, length: number, classOf: (code: number) => number, kindOf: (index: number) => number): boolean {
    const words = this.#words;
    let [now, next] = [this.#now.fill(0), this.#next];
    let [before, last] = [NO_CHARACTER, NO_CHARACTER];
    for (let at = 0; at < length; at += 1) {
      const index = classOf(line.charCodeAt(at));
      const behind = kindOf(index);
      const { table, firstAccepts } = this.#step(last, behind);
      if (firstAccepts || meets(now, table, words * ACCEPTS)) return true;
      let carry = 0;
      for (let i = 0; i < words; i += 1) {
        const moved = (now[i] as number) & (table[words * SHIFTS + i] as number);
        next[i] = (moved << 1) | carry | (table[words * FIRST + i] as number);
        carry = moved >>> 31;
      }
      if (meets(now, table, words * BRANCHES)) follow(now, next, table, words * ROWS);
      const taken = index * words;
      for (let i = 0; i < words; i += 1) next[i] = (next[i] as number) & (this.#takes[taken + i] as number);
      [now, next] = [next, now];
      [before, last] = [last, behind];
    }
    [this.#now, this.#next] = [now, next];
    if (this.#accepts(now, last, NO_CHARACTER)) return true;
    return line.charCodeAt(length - 1) === LINE_FEED && this.#accepts(next, before, LAST_LINE_FEED);
  }

  /** Whether the text that led to these states matches, between characters of these kinds. */
  #accepts(states: Int32Array, before: number, behind: number): boolean {
    const { table, firstAccepts } = this.#step(before, behind);
    return firstAccepts || meets(states, table, this.#words * ACCEPTS);
  }

  #step(before: number, behind: number): Step {
    const key = before * KINDS + behind;
    let step = this.#steps[key];
    if (step === undefined) {
      step = this.#make(this.#follows(before, behind));
      this.#steps[key] = step;
    }
    return step;
  }

  #make({ of, first }: Follows): Step {
    const accepts: number[] = [];
    const shifts: number[] = [];
    const others = new Map<string, { readonly from: number[]; readonly to: readonly number[] }>();
    for (const [state, after] of of.entries()) {
      if (after === undefined) {
        accepts.push(state);
        continue;
      }
      if (after.includes(state + 1)) shifts.push(state);
      if (after.length === 1 && shifts.at(-1) === state) continue; // most of them
      const rest = after.filter((next) => next !== state + 1);
      if (rest.length === 0) continue;
      const key = rest.join(' ');
      const row = others.get(key) ?? { from: [], to: rest };
      others.set(key, row);
      row.from.push(state);
    }
    const rows = [...others.values()];
    const branches = rows.flatMap(({ from }) => from);
    const table = Int32Array.from([
      ...[accepts, first ?? [], shifts, branches].flatMap((states) => [...this.#bits(states)]),
      ...rows.flatMap(({ from, to }) => [...sparse(from), ...sparse(to)]),
    ]);
    this.bytes += sizeOf(table);
    return { table, firstAccepts: first === undefined, operations: table.length - 2 * rows.length };
  }

  #bits(states: readonly number[]): Int32Array {
    const bits = new Int32Array(this.#words);
    for (const state of states) add(bits, state);
    return bits;
  }
}

const sizeOf = ({ byteLength }: Int32Array) => BYTES_OF_TABLE + byteLength;

function add(bits: Int32Array, state: number): void {
  bits[state >> 5] = (bits[state >> 5] as number) | (1 << (state & 31));
}

function join(bits: Int32Array, at: number, others: Int32Array): void {
  for (let i = 0; i < others.length; i += 1) bits[at + i] = (bits[at + i] as number) | (others[i] as number);
}

/** @returns the number of words that have some of the states, and pairs of a word and its bits */
function sparse(states: readonly number[]): readonly number[] {
  const words = new Map<number, number>();
  for (const state of states) words.set(state >> 5, (words.get(state >> 5) ?? 0) | (1 << (state & 31)));
  return [words.size, ...[...words].flat()];
}

function follow(now: Int32Array, next: Int32Array, table: Int32Array, rows: number): void {
  let at = rows;
  while (at < table.length) {
    let meet = 0;
    for (let words = table[at++] as number; words > 0; words -= 1)
      meet |= (now[table[at++] as number] as number) & (table[at++] as number);
    const words = table[at++] as number;
    if (meet !== 0)
      for (let i = at; i < at + words * 2; i += 2) {
        const word = table[i] as number;
        next[word] = (next[word] as number) | (table[i + 1] as number);
      }
    at += words * 2;
  }
}

/** Whether states are in the set that begins there in the table. */
function meets(states: Int32Array, table: Int32Array, at: number): boolean {
  for (let i = 0; i < states.length; i += 1) if (((states[i] as number) & (table[at + i] as number)) !== 0) return true;
  return false;
}
