/* Regular expressions that take linear time, whatever the pattern and the text: rules are data, and the text may be
 * hostile. JavaScript's own take exponential time for `(a+)+$` on a long line.
 *
 * A subset of JavaScript's syntax: characters, `.`, classes, `\d \w \s` and their opposites, non-capturing groups,
 * `|`, `* + ? {m,n}`, `^`, `$` and `\b`. No look-around and no back-references. No lazy quantifiers, which make no
 * difference to whether a line matches.
 *
 * Thompson's construction (Regular Expression Search Algorithm, CACM 11:6, 1968), as a DFA that is built lazily: state
 * sets are cached. `^`, `$` and `\b` are decided when the characters on both sides are known, so a state set includes
 * the kind of the character before it.
 */

export interface Pattern {
  /** Whether the pattern matches anywhere in the line. */
  matches(line: string): boolean;
}

/** In characters. Of longer lines, only the beginning is matched. */
export const LONGEST_LINE = 4_096;
/** `{m,n}` is expanded, so that a short pattern can become a large automaton. */
const MAX_STATES = 3_000;
const MAX_REPEATS = 255;
const DEEPEST = 20;
/** Cached state sets; when there are more, the cache is emptied. */
const MAX_SETS = 300;

type Test = (code: number) => boolean;
type Assertion = 'begin' | 'end' | 'boundary' | 'inside';

/** One state of the automaton. Its transition reads a character that passes `test`, or none if `test` is absent. */
interface State {
  readonly test?: Test;
  readonly assertion?: Assertion;
  readonly next: number[];
}

class Malformed extends Error {}

type Node =
  | { readonly is: 'char'; readonly test: Test }
  | { readonly is: 'assert'; readonly assertion: Assertion }
  | { readonly is: 'sequence' | 'choice'; readonly of: readonly Node[] }
  | { readonly is: 'repeat'; readonly of: Node; readonly min: number; readonly max: number };

const isDigit: Test = (c) => c >= 48 && c <= 57;
const isWord: Test = (c) => isDigit(c) || (c >= 65 && c <= 90) || (c >= 97 && c <= 122) || c === 95;
const isBlank: Test = (c) =>
  c === 32 || (c >= 9 && c <= 13) || c === 0xa0 || c === 0xfeff || /\s/.test(String.fromCharCode(c));
const not =
  (test: Test): Test =>
  (c) =>
    !test(c);

const CLASSES: Readonly<Record<string, Test>> = {
  d: isDigit,
  D: not(isDigit),
  w: isWord,
  W: not(isWord),
  s: isBlank,
  S: not(isBlank),
};
const CONTROLS: Readonly<Record<string, string>> = { t: '\t', n: '\n', r: '\r', f: '\f', v: '\v' };

class Parser {
  readonly #text: string;
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  whole(): Node {
    const node = this.#choice();
    if (this.#at < this.#text.length) this.#refuse('")" without "("');
    return node;
  }

  #refuse(what: string): never {
    throw new Malformed(`${what} at character ${this.#at + 1} of the pattern`);
  }

  #peek(): string {
    return this.#text.charAt(this.#at);
  }

  #take(): string {
    const char = this.#peek();
    if (char === '') this.#refuse('an unexpected end');
    this.#at += 1;
    return char;
  }

  #choice(): Node {
    if (++this.#depth > DEEPEST) this.#refuse(`more than ${DEEPEST} groups in one another`);
    const options = [this.#sequence()];
    while (this.#peek() === '|') {
      this.#at += 1;
      options.push(this.#sequence());
    }
    this.#depth -= 1;
    return options.length === 1 && options[0] !== undefined ? options[0] : { is: 'choice', of: options };
  }

  #sequence(): Node {
    const parts: Node[] = [];
    while (!['', '|', ')'].includes(this.#peek())) parts.push(this.#quantified());
    return { is: 'sequence', of: parts };
  }

  #quantified(): Node {
    const node = this.#atom();
    const range = this.#quantifier();
    if (range === undefined) return node;
    if (node.is === 'assert') this.#refuse('a quantifier after "^", "$", "\\b" or "\\B"');
    if (['*', '+', '?', '{'].includes(this.#peek())) this.#refuse('a second quantifier, or a lazy one,');
    return { is: 'repeat', of: node, ...range };
  }

  #quantifier(): { min: number; max: number } | undefined {
    const simple = { '*': [0, Infinity], '+': [1, Infinity], '?': [0, 1] }[this.#peek()];
    if (simple !== undefined) {
      this.#at += 1;
      return { min: simple[0] ?? 0, max: simple[1] ?? 0 };
    }
    if (this.#peek() !== '{') return undefined;
    const match = /^\{(\d{1,3})(,(\d{0,3}))?\}/.exec(this.#text.slice(this.#at));
    if (match === null) return this.#refuse('a "{" that does not begin a quantifier');
    const min = Number(match[1]);
    const max = match[2] === undefined ? min : match[3] === '' ? Infinity : Number(match[3]);
    if (min > max) this.#refuse('a quantifier whose minimum is above its maximum');
    if (min > MAX_REPEATS || (max > MAX_REPEATS && max !== Infinity)) this.#refuse(`a quantifier above ${MAX_REPEATS}`);
    this.#at += match[0].length;
    return { min, max };
  }

  #atom(): Node {
    const char = this.#take();
    if (char === '(') return this.#group();
    if (char === '[') return { is: 'char', test: this.#class() };
    if (char === '.') return { is: 'char', test: (c) => c !== 10 && c !== 13 && c !== 0x2028 && c !== 0x2029 };
    if (char === '^') return { is: 'assert', assertion: 'begin' };
    if (char === '$') return { is: 'assert', assertion: 'end' };
    if (char === '\\') return this.#escape();
    if ('*+?{}]'.includes(char)) {
      this.#at -= 1;
      this.#refuse(`an unescaped "${char}"`);
    }
    return { is: 'char', test: oneOf(char) };
  }

  #group(): Node {
    if (this.#peek() === '?') {
      if (this.#text.charAt(this.#at + 1) !== ':') this.#refuse('look-around or a named group, which is not allowed,');
      this.#at += 2;
    }
    const node = this.#choice();
    if (this.#peek() !== ')') this.#refuse('a group without ")"');
    this.#at += 1;
    return node;
  }

  #escape(): Node {
    const char = this.#take();
    if (char === 'b') return { is: 'assert', assertion: 'boundary' };
    if (char === 'B') return { is: 'assert', assertion: 'inside' };
    return { is: 'char', test: CLASSES[char] ?? oneOf(this.#escaped(char)) };
  }

  /** The character that an escape stands for, unless it is a class. */
  #escaped(char: string): string {
    const control = CONTROLS[char];
    if (control !== undefined) return control;
    if (!/[A-Za-z0-9]/.test(char)) return char;
    this.#at -= 1;
    return this.#refuse(
      /[0-9k]/.test(char) ? 'a back-reference, which is not allowed,' : `an unknown escape "\\${char}"`,
    );
  }

  #class(): Test {
    const negated = this.#peek() === '^';
    if (negated) this.#at += 1;
    const tests: Test[] = [];
    while (this.#peek() !== ']') {
      const first = this.#classMember();
      if (typeof first === 'string' && this.#peek() === '-' && this.#text.charAt(this.#at + 1) !== ']') {
        this.#at += 1;
        const last = this.#classMember();
        if (typeof last !== 'string' || last < first) this.#refuse('a range out of order');
        else tests.push(between(first, last));
      } else tests.push(typeof first === 'string' ? oneOf(first) : first);
    }
    this.#at += 1;
    const any: Test = (c) => tests.some((test) => test(c));
    return negated ? not(any) : any;
  }

  #classMember(): string | Test {
    const char = this.#take();
    if (char !== '\\') return char;
    const escaped = this.#take();
    if (escaped === 'b') return '\b';
    return CLASSES[escaped] ?? this.#escaped(escaped);
  }
}

function oneOf(char: string): Test {
  const code = char.charCodeAt(0);
  return (c) => c === code;
}

function between(first: string, last: string): Test {
  const [from, to] = [first.charCodeAt(0), last.charCodeAt(0)];
  return (c) => c >= from && c <= to;
}

/** Appends the states of a node. @param next the state that follows it @returns the state that it begins with */
function build(node: Node, next: number, states: State[]): number {
  const add = (state: State): number => {
    if (states.length >= MAX_STATES) throw new Malformed('more repetitions than are allowed in the pattern');
    return states.push(state) - 1;
  };
  switch (node.is) {
    case 'char':
      return add({ test: node.test, next: [next] });
    case 'assert':
      return add({ assertion: node.assertion, next: [next] });
    case 'sequence':
      // An empty sequence gets a state, too, so that its repetitions count against MAX_STATES.
      if (node.of.length === 0) return add({ next: [next] });
      return node.of.reduceRight((after, part) => build(part, after, states), next);
    case 'choice':
      return add({ next: node.of.map((option) => build(option, next, states)) });
    case 'repeat': {
      let after = next;
      if (node.max === Infinity) {
        const loop: State = { next: [next] };
        after = add(loop);
        loop.next.push(build(node.of, after, states));
      } else {
        for (let i = node.min; i < node.max; i += 1) after = add({ next: [build(node.of, after, states), next] });
      }
      for (let i = 0; i < node.min; i += 1) after = build(node.of, after, states);
      return after;
    }
  }
}

/** Kinds of the character before or after a position: none, a word character, or another. */
const NOTHING = 0;
const WORD = 1;
const OTHER = 2;
const kindOf = (code: number): number => (isWord(code) ? WORD : OTHER);

/** A state of the DFA: all states that the text read so far can have led to. */
interface StateSet {
  readonly states: readonly number[];
  readonly before: number;
  /** By the next character's code. */
  readonly steps: Map<number, StateSet>;
  /** Whether the line matches if it ends here; absent until it is first needed. */
  endsWell?: boolean;
  /** Whether the text read so far matches, whatever follows. */
  readonly done: boolean;
}

const ACCEPT = 0;

class Automaton implements Pattern {
  readonly #states: State[];
  readonly #start: number;
  #sets = new Map<string, StateSet>();

  constructor(node: Node) {
    this.#states = [{ next: [] }];
    this.#start = build(node, ACCEPT, this.#states);
  }

  matches(line: string): boolean {
    let set = this.#set([this.#start], NOTHING, false);
    const length = Math.min(line.length, LONGEST_LINE);
    for (let at = 0; at < length; at += 1) {
      const code = line.charCodeAt(at);
      let next = set.steps.get(code);
      if (next === undefined) {
        next = this.#step(set, code);
        set.steps.set(code, next);
      }
      if (next.done) return true;
      set = next;
    }
    set.endsWell ??= this.#reach(set, NOTHING).has(ACCEPT);
    return set.endsWell;
  }

  #step(set: StateSet, code: number): StateSet {
    const reached = this.#reach(set, kindOf(code));
    if (reached.has(ACCEPT)) return this.#set([], OTHER, true);
    const next = new Set<number>([this.#start]);
    for (const index of reached) {
      const state = this.#states[index];
      if (state?.test?.(code) === true) for (const after of state.next) next.add(after);
    }
    return this.#set(
      [...next].sort((a, b) => a - b),
      kindOf(code),
      false,
    );
  }

  /** All states that are reachable without reading a character. @param behind the kind of the next character */
  #reach({ states, before }: StateSet, behind: number): Set<number> {
    const reached = new Set<number>();
    const open = [...states];
    for (let index = open.pop(); index !== undefined; index = open.pop()) {
      if (reached.has(index)) continue;
      reached.add(index);
      const state = this.#states[index];
      if (state === undefined || state.test !== undefined) continue;
      if (state.assertion === undefined || holds(state.assertion, before, behind)) open.push(...state.next);
    }
    return reached;
  }

  #set(states: readonly number[], before: number, done: boolean): StateSet {
    const key = `${done} ${before} ${states.join(' ')}`;
    const known = this.#sets.get(key);
    if (known !== undefined) return known;
    if (this.#sets.size >= MAX_SETS) this.#sets = new Map();
    const set: StateSet = { states, before, steps: new Map(), done };
    this.#sets.set(key, set);
    return set;
  }
}

function holds(assertion: Assertion, before: number, behind: number): boolean {
  if (assertion === 'begin') return before === NOTHING;
  if (assertion === 'end') return behind === NOTHING;
  return ((before === WORD) !== (behind === WORD)) === (assertion === 'boundary');
}

/** @returns the pattern, or what is wrong with it, and where */
export function compilePattern(text: string): Pattern | { readonly problem: string } {
  try {
    return new Automaton(new Parser(text).whole());
  } catch (error) {
    if (error instanceof Malformed) return { problem: error.message };
    throw error;
  }
}
