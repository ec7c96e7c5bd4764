import { ANY, BLANKS, DIGITS, LINE_ENDS, not, one, type Ranges, union, WORDS, withCase } from './ranges.ts';

/** `lastLineEnd`: at the end, or before a line feed that is the last character. */
export type Assertion = 'begin' | 'end' | 'lastLineEnd' | 'lineBegin' | 'lineEnd' | 'boundary' | 'inside';

/** A parsed pattern. */
export type Node =
  | { readonly is: 'char'; readonly ranges: Ranges }
  | { readonly is: 'assert'; readonly assertion: Assertion }
  | { readonly is: 'sequence' | 'choice'; readonly of: readonly Node[] }
  | { readonly is: 'repeat'; readonly of: Node; readonly min: number; readonly max: number };

/** The pattern is not supported; the message says why, and at which character. */
export class Malformed extends Error {}

export interface Flags {
  /** Ignores case. */
  readonly i?: boolean;
  /** `^` and `$` match at the start and end of each line. */
  readonly m?: boolean;
  /** `.` matches line ends, too. */
  readonly s?: boolean;
}

export interface Syntax extends Flags {
  /**
   * Also accepts the syntax of other engines: lazy quantifiers and named groups (they don't change whether a string matches),
   * flags at the start as in `(?i)`, `\A`, `\z`, `\xHH`, `\uHHHH`, `[[:alpha:]]`, and `{`, `}` and `]` as
   * literals, `]` also at the start of a class.
   * `.` matches any character except a line feed, as in those engines; in JavaScript, carriage returns and U+2028 also end lines.
   * `$` and `\Z` at the end of a match also match before a final line feed.
   */
  readonly wide?: boolean;
}

const MAX_REPEATS = 255;
const SIMPLE: Readonly<Record<string, { readonly min: number; readonly max: number }>> = {
  '*': { min: 0, max: Infinity },
  '+': { min: 1, max: Infinity },
  '?': { min: 0, max: 1 },
};
const MAX_DEPTH = 20;

const CLASSES: Readonly<Record<string, Ranges>> = {
  d: DIGITS,
  D: not(DIGITS),
  w: WORDS,
  W: not(WORDS),
  s: BLANKS,
  S: not(BLANKS),
};
/** The ASCII characters, created once. */
const CHARACTERS: readonly Ranges[] = Array.from({ length: 128 }, (_, code) => one(code));
/** Nodes, keyed by their ranges, as long as these exist. */
const EXACT = new WeakMap<Ranges, Node>();
const FOLDED = new WeakMap<Ranges, Node>();
const NOT_LINE_ENDS = not(LINE_ENDS);
const NOT_LINE_FEED = not([[10, 10]]);
const CONTROLS: Readonly<Record<string, string>> = { t: '\t', n: '\n', r: '\r', f: '\f', v: '\v' };
/** POSIX classes, of ASCII. */
const NAMED: Readonly<Record<string, Ranges>> = {
  alpha: [
    [65, 90],
    [97, 122],
  ],
  digit: DIGITS,
  alnum: [
    [48, 57],
    [65, 90],
    [97, 122],
  ],
  upper: [[65, 90]],
  lower: [[97, 122]],
  space: [
    [9, 13],
    [32, 32],
  ],
  blank: [
    [9, 9],
    [32, 32],
  ],
  punct: [
    [33, 47],
    [58, 64],
    [91, 96],
    [123, 126],
  ],
  xdigit: [
    [48, 57],
    [65, 70],
    [97, 102],
  ],
  word: WORDS,
};

export class Parser {
  readonly #text: string;
  readonly #wide: boolean;
  #flags: Flags;
  #at = 0;
  #depth = 0;

  constructor(text: string, { wide = false, ...flags }: Syntax) {
    this.#text = text;
    this.#wide = wide;
    this.#flags = flags;
  }

  whole(): Node {
    const flags = this.#wide ? /^\(\?([ims]+)\)/.exec(this.#text) : null;
    if (flags !== null) {
      const [{ length }, letters = ''] = flags;
      this.#at = length;
      this.#flags = { ...this.#flags, ...Object.fromEntries([...letters].map((letter) => [letter, true])) };
    }
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
    if (++this.#depth > MAX_DEPTH) this.#refuse(`more than ${MAX_DEPTH} groups in one another`);
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
    for (let next = this.#peek(); next !== '' && next !== '|' && next !== ')'; next = this.#peek())
      parts.push(this.#quantified());
    return { is: 'sequence', of: parts };
  }

  #quantified(): Node {
    const node = this.#atom();
    const range = this.#quantifier();
    if (range === undefined) return node;
    if (node.is === 'assert') this.#refuse('a quantifier after "^", "$", "\\b" or "\\B"');
    if (this.#wide && this.#peek() === '?') this.#at += 1;
    if (['*', '+', '?'].includes(this.#peek()) || this.#isQuantifier())
      this.#refuse(this.#wide ? 'a second quantifier, or a possessive one,' : 'a second quantifier, or a lazy one,');
    return { is: 'repeat', of: node, ...range };
  }

  /** Whether a `{` starts a quantifier; otherwise it is a literal if `wide` allows it. */
  #isQuantifier(): boolean {
    return this.#peek() === '{' && (!this.#wide || /^\{\d+(?:,\d*)?\}/.test(this.#text.slice(this.#at, this.#at + 20)));
  }

  #quantifier(): { min: number; max: number } | undefined {
    const simple = SIMPLE[this.#peek()];
    if (simple !== undefined) {
      this.#at += 1;
      return simple;
    }
    if (!this.#isQuantifier()) return undefined;
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
    const { m = false, s = false } = this.#flags;
    if (char === '(') return this.#group();
    if (char === '[') return this.#char(this.#class());
    if (char === '.') return { is: 'char', ranges: s ? ANY : this.#wide ? NOT_LINE_FEED : NOT_LINE_ENDS };
    if (char === '^') return { is: 'assert', assertion: m ? 'lineBegin' : 'begin' };
    if (char === '$') return { is: 'assert', assertion: m ? 'lineEnd' : this.#wide ? 'lastLineEnd' : 'end' };
    if (char === '\\') return this.#escape();
    if ('*+?'.includes(char) || (!this.#wide && '{}]'.includes(char))) {
      this.#at -= 1;
      this.#refuse(`an unescaped "${char}"`);
    }
    return this.#one(char.charCodeAt(0));
  }

  /** Returns the same node for the same character or class: rules have many thousands. */
  #char(ranges: Ranges): Node {
    const known = this.#flags.i === true ? FOLDED : EXACT;
    let node = known.get(ranges);
    if (node === undefined) {
      node = { is: 'char', ranges: this.#flags.i === true ? withCase(ranges) : ranges };
      known.set(ranges, node);
    }
    return node;
  }

  #one(code: number): Node {
    return this.#char(CHARACTERS[code] ?? one(code));
  }

  #group(): Node {
    if (this.#peek() === '?') {
      const named = this.#wide ? /^\?P?<[A-Za-z_]\w*>/.exec(this.#text.slice(this.#at, this.#at + 100)) : null;
      if (named !== null) this.#at += named[0].length;
      else if (this.#text.charAt(this.#at + 1) === ':') this.#at += 2;
      else
        this.#refuse(
          this.#wide
            ? 'look-around or another special group, which is not allowed,'
            : 'look-around or a named group, which is not allowed,',
        );
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
    if (this.#wide && char === 'A') return { is: 'assert', assertion: 'begin' };
    if (this.#wide && char === 'z') return { is: 'assert', assertion: 'end' };
    if (this.#wide && char === 'Z') return { is: 'assert', assertion: 'lastLineEnd' };
    const ranges = CLASSES[char];
    return ranges === undefined ? this.#one(this.#escaped(char)) : this.#char(ranges);
  }

  /** The code of the character that an escape stands for, unless it is a class. */
  #escaped(char: string): number {
    const control = CONTROLS[char];
    if (control !== undefined) return control.charCodeAt(0);
    if (!/[A-Za-z0-9]/.test(char)) return char.charCodeAt(0);
    const digits = { x: 2, u: 4 }[char] ?? 0;
    const hex = this.#text.slice(this.#at, this.#at + digits);
    if (this.#wide && digits > 0 && hex.length === digits && /^[0-9a-fA-F]+$/.test(hex)) {
      this.#at += digits;
      return Number.parseInt(hex, 16);
    }
    this.#at -= 1;
    return this.#refuse(
      /[0-9k]/.test(char) ? 'a back-reference, which is not allowed,' : `an unknown escape "\\${char}"`,
    );
  }

  #class(): Ranges {
    const negated = this.#peek() === '^';
    if (negated) this.#at += 1;
    const members: Ranges[] = [];
    let isFirst = this.#wide; // in other engines a "]" at the start is a literal
    while (isFirst || this.#peek() !== ']') {
      isFirst = false;
      const first = this.#classMember();
      if (typeof first === 'number' && this.#peek() === '-' && this.#text.charAt(this.#at + 1) !== ']') {
        this.#at += 1;
        const last = this.#classMember();
        if (typeof last !== 'number' || last < first) this.#refuse('a range out of order');
        else members.push([[first, last]]);
      } else members.push(typeof first === 'number' ? one(first) : first);
    }
    this.#at += 1;
    const any = union(...members);
    if (!negated) return any;
    return not(this.#flags.i === true ? withCase(any) : any);
  }

  #classMember(): number | Ranges {
    const char = this.#take();
    if (this.#wide && char === '[' && this.#peek() === ':') {
      const name = /^:([a-z]+):\]/.exec(this.#text.slice(this.#at, this.#at + 12));
      const ranges = name?.[1] !== undefined && Object.hasOwn(NAMED, name[1]) ? NAMED[name[1]] : undefined;
      if (name === null || ranges === undefined) return this.#refuse('an unknown class "[:"');
      this.#at += name[0].length;
      return ranges;
    }
    if (char !== '\\') return char.charCodeAt(0);
    const escaped = this.#take();
    if (escaped === 'b') return 8;
    return CLASSES[escaped] ?? this.#escaped(escaped);
  }
}
