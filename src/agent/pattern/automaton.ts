import { BitParallel, LAST_LINE_FEED, LINE_FEED, NO_CHARACTER } from './bit-parallel.ts';
import { type Droppable, Kept, type MemoryLimit } from './kept.ts';
import { type Assertion, Malformed, type Node } from './parse.ts';
import { has, type Ranges, WORDS } from './ranges.ts';

/* A pattern as Thompson's automaton (Regular Expression Search Algorithm, CACM 11:6, 1968), and the search with it.
 *
 * The search builds a DFA of what it meets: each set of states is interned, with its steps by the class of the next
 * character. Some patterns have more sets than fit, and an attacker can choose the string so that each character makes
 * a new one. A search that would make more than MAX_NEW_SETS is therefore made again with all states at once, which takes
 * the same time for every text (bit-parallel.ts).
 *
 * `^`, `$` and `\b` are decided when the characters on both sides are known, so a set includes the kind of the
 * character before it.
 */

/** `{m,n}` is expanded, so that a short pattern can become a large automaton. */
const MAX_STATES = 3_000;
/** Interned sets of an automaton at most: a search that could exceed them empties the cache first. */
const MAX_SETS = 384;
/**
 * Interned sets of all automata together at most, of about 300 bytes each: before a search that could exceed them, all caches
 * are emptied.
 */
const MAX_ALL_SETS = 4_096;
/** How many there are, and the automata that have some. */
const caches = { sets: 0, automata: new Set<Automaton>() };
/**
 * Sets that one search may build: halved after each search that built them without success, doubled after each other one
 * that read the whole text.
 */
const MAX_NEW_SETS = 96;
const LEAST_NEW_SETS = 3;
/** Memory of an automaton in addition to its tables of states: its classes, and V8's overhead for each table. */
const BYTES_BESIDES = 4_096;

/**
 * Kinds of the character before or after a position: none, a word character, a line end, or another; and after it, a line
 * feed that is the last character.
 */
const NOTHING = NO_CHARACTER;
const WORD = 1;
const LINE_END = 2;
const OTHER = 3;

const ACCEPT = 0;

const ASSERTIONS: readonly Assertion[] = ['begin', 'end', 'lastLineEnd', 'lineBegin', 'lineEnd', 'boundary', 'inside'];

/** Kind of a state: it reads a character, branches, or continues if an assertion holds. */
const READS = 0;
const BRANCHES = 1;
const ASSERTS = 2;

interface State {
  readonly does: typeof READS | typeof BRANCHES | typeof ASSERTS;
  readonly ranges?: Ranges;
  readonly assertion?: Assertion;
  readonly next: number[];
}

/** How many states a node takes. */
function statesOf(node: Node): number {
  switch (node.is) {
    case 'char':
    case 'assert':
      return 1;
    case 'sequence':
      // An empty sequence gets a state, too, so that its repetitions count.
      return node.of.length === 0 ? 1 : sumOf(node.of);
    case 'choice':
      return 1 + sumOf(node.of);
    case 'repeat': {
      const of = statesOf(node.of);
      return node.min * of + (node.max === Infinity ? 1 + of : (node.max - node.min) * (1 + of));
    }
  }
}

const sumOf = (nodes: readonly Node[]) => nodes.reduce((sum, node) => sum + statesOf(node), 0);

/** Whether the automaton would be too large; much faster than to build it. @throws {Malformed} */
export function checkSize(node: Node): void {
  if (1 + statesOf(node) > MAX_STATES) throw new Malformed('more repetitions than are allowed in the pattern');
}

/** Appends the states of a node. @param next the state that follows it @returns the state that it begins with */
function build(node: Node, next: number, states: State[]): number {
  const add = (state: State): number => states.push(state) - 1;
  switch (node.is) {
    case 'char':
      return add({ does: READS, ranges: node.ranges, next: [next] });
    case 'assert':
      return add({ does: ASSERTS, assertion: node.assertion, next: [next] });
    case 'sequence':
      if (node.of.length === 0) return add({ does: BRANCHES, next: [next] });
      return node.of.reduceRight((after, part) => build(part, after, states), next);
    case 'choice':
      return add({ does: BRANCHES, next: node.of.map((option) => build(option, next, states)) });
    case 'repeat': {
      let after = next;
      if (node.max === Infinity) {
        const loop: State = { does: BRANCHES, next: [next] };
        after = add(loop);
        loop.next.push(build(node.of, after, states));
      } else {
        for (let i = node.min; i < node.max; i += 1)
          after = add({ does: BRANCHES, next: [build(node.of, after, states), next] });
      }
      for (let i = 0; i < node.min; i += 1) after = build(node.of, after, states);
      return after;
    }
  }
}

/** Numbered classes of characters that the pattern does not distinguish: a table for ASCII, bisection for the rest. */
class Classes {
  readonly ascii = new Uint16Array(128);
  /** Whether a set of characters has a class, 1 or 0; keyed by set and class. One table, since many small ones need more memory. */
  readonly taken: Uint8Array;
  /** Kind of the characters, keyed by class. Distinguished only for patterns with assertions. */
  readonly kinds: Uint8Array;
  /** Where characters of another class may begin, and which. */
  readonly #starts: readonly number[];
  readonly #classes: readonly number[];

  constructor(sets: readonly Ranges[], hasAssertions: boolean) {
    const starts = new Set([0]);
    for (const ranges of hasAssertions ? [...sets, WORDS, LINE_ENDS_OF_M] : sets) {
      for (const [from, to] of ranges) {
        starts.add(from);
        if (to < 0xffff) starts.add(to + 1);
      }
    }
    this.#starts = [...starts].sort((a, b) => a - b);
    const numbers = new Map<string, number>();
    const codes: number[] = [];
    this.#classes = this.#starts.map((code) => {
      const key = `${hasAssertions ? kindOf(code) : OTHER}${sets.map((ranges) => (has(ranges, code) ? 1 : 0)).join('')}`;
      const known = numbers.get(key);
      if (known !== undefined) return known;
      numbers.set(key, codes.length);
      return codes.push(code) - 1;
    });
    this.kinds = Uint8Array.from(codes, kindOf);
    this.taken = Uint8Array.from(sets.flatMap((ranges) => codes.map((code) => (has(ranges, code) ? 1 : 0))));
    for (let code = 0; code < 128; code += 1) this.ascii[code] = this.#find(code);
  }

  get count(): number {
    return this.kinds.length;
  }

  of(code: number): number {
    return code < 128 ? (this.ascii[code] ?? 0) : this.#find(code);
  }

  #find(code: number): number {
    let [low, high] = [0, this.#starts.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#starts[middle] ?? 0) <= code) low = middle;
      else high = middle - 1;
    }
    return this.#classes[low] ?? 0;
  }
}

const LINE_ENDS_OF_M: Ranges = [
  [10, 10],
  [13, 13],
  [0x2028, 0x2029],
];

function kindOf(code: number): number {
  if (has(WORDS, code)) return WORD;
  return has(LINE_ENDS_OF_M, code) ? LINE_END : OTHER;
}

/** A state of the DFA: all states that the text read so far can have led to. */
interface StateSet {
  /** The kind of the character before it, and its states in order. A string takes a quarter of a typed array's memory. */
  readonly key: string;
  /** Whether the text matches if it ends here; absent until it is first needed. */
  endsWell?: boolean;
}

/** Steps that are not sets: not built yet; the string matches regardless of the rest. */
const UNKNOWN = -1;
const DONE = -2;
/** Sets for which a table has space at first. */
const FEW_SETS = 4;

/** Marks of states that are in a list already; one for all automata, since a search is never interrupted. */
const marks = new Uint32Array(MAX_STATES + 1);
let mark = 0;
/** States that are read out of a set. */
const current = new Int16Array(MAX_STATES + 1);
const open = new Int16Array(MAX_STATES + 1);
const reached = new Int16Array(MAX_STATES + 1);
const found = new Int16Array(MAX_STATES + 1);

/** Empties the caches of all automata. */
function forgetAll(): void {
  for (const automaton of caches.automata) automaton.forget();
}

/** Fills `current` with the states of a set. @returns how many */
function statesIn(key: string): number {
  for (let index = 1; index < key.length; index += 1) current[index - 1] = key.charCodeAt(index);
  return key.length - 1;
}

function nextMark(): number {
  if (mark === 0xffffffff) {
    marks.fill(0);
    mark = 0;
  }
  mark += 1;
  return mark;
}

export class Automaton implements Droppable {
  readonly #does: Uint8Array;
  /** Index of a state's first follower in `#next`, keyed by state. */
  readonly #begins: Uint16Array;
  readonly #next: Int16Array;
  /** Keyed by state: the number of its assertion, or, if it reads, of the set of classes that it accepts. */
  readonly #details: Uint16Array;
  readonly #classes: Classes;
  readonly #start: number;
  readonly #hasAssertions: boolean;
  #sets: StateSet[] = [];
  /** Sets that the next search may make. */
  #newSets = MAX_NEW_SETS;
  /** The set that follows, by set and by the class of the next character. */
  #steps = new Int16Array();
  #byKey = new Map<string, number>();
  readonly #bits: Kept<BitParallel>;
  /** Without its sets, and its tables for searches with all states at once. */
  readonly bytes: number;

  /** @param node that has passed `checkSize` @param tables for the tables of searches with all states at once */
  constructor(node: Node, tables: MemoryLimit) {
    this.#bits = new Kept(tables, () => this.#all());
    const states: State[] = [{ does: BRANCHES, next: [] }];
    this.#start = build(node, ACCEPT, states);
    this.#hasAssertions = states.some(({ does }) => does === ASSERTS);
    const distinct = new Map<string, Ranges>();
    for (const { ranges } of states) if (ranges !== undefined) distinct.set(String(ranges), ranges);
    const sets = [...distinct.values()];
    this.#classes = new Classes(sets, this.#hasAssertions);
    this.#does = Uint8Array.from(states, ({ does }) => does);
    this.#next = Int16Array.from(states.flatMap(({ next }) => next));
    this.#begins = new Uint16Array(states.length + 1);
    for (const [index, { next }] of states.entries())
      this.#begins[index + 1] = (this.#begins[index] as number) + next.length;
    const numbers = new Map([...distinct.keys()].map((key, index) => [key, index]));
    this.#details = Uint16Array.from(states, ({ ranges, assertion }) =>
      ranges !== undefined ? (numbers.get(String(ranges)) as number) : ASSERTIONS.indexOf(assertion ?? 'begin'),
    );
    this.bytes =
      BYTES_BESIDES +
      [this.#does, this.#begins, this.#next, this.#details, this.#classes.taken].reduce(
        (sum, { byteLength }) => sum + byteLength,
        0,
      );
  }

  /** Whether the pattern matches anywhere in the first `length` characters. */
  matches(line: string, length: number): boolean {
    if (caches.sets > MAX_ALL_SETS - MAX_NEW_SETS) forgetAll();
    else if (this.#sets.length > MAX_SETS - MAX_NEW_SETS) this.forget();
    const most = this.#sets.length + this.#newSets;
    if (this.#sets.length === 0) {
      caches.automata.add(this);
      this.#steps = new Int16Array(FEW_SETS * this.#classes.count).fill(UNKNOWN);
      found[0] = this.#start;
      this.#set(found, 1, NOTHING);
    }
    let [set, before] = [0, 0];
    const { ascii, count: width } = this.#classes;
    let steps = this.#steps;
    for (let at = 0; at < length; at += 1) {
      const code = line.charCodeAt(at);
      const kind = code < 128 ? (ascii[code] as number) : this.#classes.of(code);
      let next = steps[set * width + kind] as number;
      if (next === UNKNOWN) {
        if (this.#sets.length >= most) {
          this.#newSets = Math.max(LEAST_NEW_SETS, this.#newSets >> 1);
          return this.#matchesByBits(line, length);
        }
        const { key } = this.#sets[set] as StateSet;
        const count = this.#step(key, kind, found);
        next = count === DONE ? DONE : this.#set(found.subarray(0, count).sort(), count, this.#kindOfClass(kind));
        steps = this.#steps;
        steps[set * width + kind] = next;
      }
      if (next === DONE) return true;
      before = set;
      set = next;
    }
    if (this.#newSets < MAX_NEW_SETS) this.#newSets *= 2;
    const last = this.#sets[set] as StateSet;
    last.endsWell ??= this.#accepts(last, NOTHING);
    if (last.endsWell || line.charCodeAt(length - 1) !== LINE_FEED) return last.endsWell;
    return this.#accepts(this.#sets[before] as StateSet, LAST_LINE_FEED);
  }

  /** Whether the text that led to a set matches, before a character of this kind. */
  #accepts({ key }: StateSet, behind: number): boolean {
    return this.#reach(current, statesIn(key), key.charCodeAt(0), behind) === DONE;
  }

  /** Empties what otherwise keeps the automaton in memory. */
  drop(): void {
    this.forget();
    this.#bits.drop();
  }

  /** Empties the cache of sets. */
  forget(): void {
    caches.sets -= this.#sets.length;
    caches.automata.delete(this);
    this.#sets = [];
    this.#steps = new Int16Array();
    this.#byKey = new Map();
  }

  /** Operations for the worst character, in a search with all states at once. */
  operations(): number {
    const kinds = this.#hasAssertions ? [WORD, LINE_END, OTHER] : [OTHER];
    const all = this.#all(); // not kept: most patterns never need it
    return Math.max(...kinds.flatMap((before) => kinds.map((behind) => all.cost(before, behind))));
  }

  #matchesByBits(line: string, length: number): boolean {
    const { ascii } = this.#classes;
    return this.#bits.use((all) =>
      all.matches(
        line,
        length,
        (code) => (code < 128 ? (ascii[code] as number) : this.#classes.of(code)),
        (index) => this.#kindOfClass(index),
      ),
    );
  }

  #all(): BitParallel {
    // States are built from the end of the pattern: backwards, each is followed by the next one mostly.
    const reading: number[] = [];
    for (let index = this.#does.length - 1; index >= 0; index -= 1)
      if (this.#does[index] === READS) reading.push(index);
    const numbers = new Uint16Array(this.#does.length);
    for (const [number, index] of reading.entries()) numbers[index] = number;
    const start = Int16Array.of(0);
    const follow = (state: number, before: number, behind: number): readonly number[] | undefined => {
      start[0] = state;
      const count = this.#reach(start, 1, before, behind);
      if (count === DONE) return undefined;
      return Array.from(reached.subarray(0, count), (index) => numbers[index] as number);
    };
    return new BitParallel({
      sets: Uint16Array.from(reading, (index) => this.#details[index] as number),
      takes: this.#classes.taken,
      classes: this.#classes.count,
      follows: (before, behind) => ({
        of: reading.map((index) => follow(this.#after(index), before, behind)),
        first: follow(this.#start, before, behind),
      }),
    });
  }

  /** Only patterns with assertions need to know what was before. */
  #kindOfClass(index: number): number {
    return this.#hasAssertions ? (this.#classes.kinds[index] as number) : OTHER;
  }

  /**
   * Reads one character.
   *
   * @param key of the set that the search is in
   * @param to gets the states that follow
   * @returns how many, or DONE if the text before the character matched
   */
  #step(key: string, kind: number, to: Int16Array): number {
    const reads = this.#reach(current, statesIn(key), key.charCodeAt(0), this.#kindOfClass(kind));
    if (reads === DONE) return DONE;
    const fresh = nextMark();
    let size = 0;
    to[size++] = this.#start;
    marks[this.#start] = fresh;
    for (let i = 0; i < reads; i += 1) {
      const index = reached[i] as number;
      if (!this.#takesOne(index, kind)) continue;
      const after = this.#after(index);
      if (marks[after] === fresh) continue;
      marks[after] = fresh;
      to[size++] = after;
    }
    return size;
  }

  /** Whether a state that reads takes a class of characters. */
  #takesOne(index: number, kind: number): boolean {
    return this.#classes.taken[(this.#details[index] as number) * this.#classes.count + kind] === 1;
  }

  /** The only follower of a state that reads. */
  #after(index: number): number {
    return this.#next[this.#begins[index] as number] as number;
  }

  /** Fills `reached` with all states that read and are reachable without reading. @returns how many, or DONE */
  #reach(states: Int16Array, count: number, before: number, behind: number): number {
    const fresh = nextMark();
    let size = 0;
    let depth = 0;
    for (let i = 0; i < count; i += 1) {
      const index = states[i] as number;
      if (marks[index] === fresh) continue;
      marks[index] = fresh;
      open[depth++] = index;
      while (depth > 0) {
        const at = open[--depth] as number;
        if (at === ACCEPT) return DONE;
        const does = this.#does[at];
        if (does === READS) {
          reached[size++] = at;
          continue;
        }
        if (does === ASSERTS && !holds(ASSERTIONS[this.#details[at] as number] as Assertion, before, behind)) continue;
        for (let i = this.#begins[at] as number; i < (this.#begins[at + 1] as number); i += 1) {
          const next = this.#next[i] as number;
          if (marks[next] === fresh) continue;
          marks[next] = fresh;
          open[depth++] = next;
        }
      }
    }
    return size;
  }

  #set(states: Int16Array, count: number, before: number): number {
    const key = String.fromCharCode(before, ...states.subarray(0, count));
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    caches.sets += 1;
    const index = this.#sets.push({ key }) - 1;
    if (this.#sets.length * this.#classes.count > this.#steps.length) {
      const more = new Int16Array(this.#steps.length * 2).fill(UNKNOWN);
      more.set(this.#steps);
      this.#steps = more;
    }
    this.#byKey.set(key, index);
    return index;
  }
}

function holds(assertion: Assertion, before: number, behind: number): boolean {
  switch (assertion) {
    case 'begin':
      return before === NOTHING;
    case 'end':
      return behind === NOTHING;
    case 'lastLineEnd':
      return behind === NOTHING || behind === LAST_LINE_FEED;
    case 'lineBegin':
      return before === NOTHING || before === LINE_END;
    case 'lineEnd':
      return behind === NOTHING || behind === LINE_END || behind === LAST_LINE_FEED;
    default:
      return ((before === WORD) !== (behind === WORD)) === (assertion === 'boundary');
  }
}
