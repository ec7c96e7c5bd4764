import { MEMBERS } from './documents.ts';

/** The hub refuses a query. */
export class QueryError extends Error {
  override readonly name = 'QueryError';
}

export type Token =
  | { readonly kind: 'word' | 'symbol' | 'quotedName'; readonly text: string; readonly at: number }
  | { readonly kind: 'constant'; readonly value: string | number; readonly text: string; readonly at: number }
  | { readonly kind: 'end'; readonly text: ''; readonly at: number };

/** Characters. Source: "Queries for IoT Hub device and module twins", limitations. */
const MAX_QUERY_CHARACTERS = 8192;

/** In this order: white space, `[[name]]`, words, numbers, strings, symbols. */
const TOKEN =
  /(\s+)|\[\[([^\]]{1,1024})\]\]|([A-Za-z_$][\w$]*)|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|(<=|>=|<>|!=|[=<>(),.*[\]])/sy;

/** Splits a query into its tokens. @throws QueryError */
export function tokensOf(query: string): Token[] {
  if (query.length > MAX_QUERY_CHARACTERS)
    throw new QueryError(`The query is longer than ${MAX_QUERY_CHARACTERS} characters.`);
  const tokens: Token[] = [];
  let at = 0;
  while (at < query.length) {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(query);
    if (match === null) throw new QueryError(`Syntax error at position ${at + 1}: ${query.slice(at, at + 20)}`);
    const [text, space, quotedName, word, number, string, symbol] = match;
    if (quotedName !== undefined) tokens.push({ kind: 'quotedName', text: quotedName, at });
    else if (word !== undefined) tokens.push({ kind: 'word', text: word, at });
    else if (number !== undefined) tokens.push({ kind: 'constant', value: Number(number), text, at });
    else if (string !== undefined) tokens.push({ kind: 'constant', value: unescaped(string, at), text, at });
    else if (space === undefined) tokens.push({ kind: 'symbol', text: symbol ?? '', at });
    at += text.length;
  }
  return [...tokens, { kind: 'end', text: '', at }];
}

/** Allowed escapes: `\'`, `\"`, `\\`, `\uXXXX`. */
const unescaped = (literal: string, at: number): string =>
  literal.slice(1, -1).replace(/\\(?:u([0-9A-Fa-f]{4})|(.))/gs, (written, code: string | undefined, char: string) => {
    if (code !== undefined) return String.fromCharCode(Number.parseInt(code, 16));
    if (!['"', "'", '\\'].includes(char)) throw new QueryError(`Syntax error at position ${at + 1}: ${written}`);
    return char;
  });

/** The position of a value in a document. */
export type Path = readonly string[];

export type Constant = string | number | boolean | null | undefined;

export type Expression =
  | { readonly kind: 'constant'; readonly value: Constant }
  | { readonly kind: 'path'; readonly path: Path }
  | { readonly kind: 'call'; readonly name: FunctionName; readonly of: readonly Expression[] }
  | { readonly kind: 'not'; readonly of: Expression }
  | { readonly kind: 'in'; readonly of: Expression; readonly among: readonly Constant[]; readonly isNegated: boolean }
  | {
      readonly kind: 'binary';
      readonly operator: Operator;
      readonly left: Expression;
      readonly right: Expression;
    };

export type Operator = 'AND' | 'OR' | '=' | '!=' | '<' | '<=' | '>' | '>=';
export type FunctionName = 'IS_DEFINED' | 'STARTS_WITH';

/** A member of the rows: its name, and the value's path or `count`. */
export interface Column {
  readonly name: string;
  readonly value: Path | 'count';
}

export interface Query {
  /** `all`: whole documents. */
  readonly columns: 'all' | readonly Column[];
  readonly from: 'devices' | 'devices.modules';
  readonly where: Expression | undefined;
  /** Empty if there are no groups. */
  readonly groupBy: readonly Path[];
}

/** Each function with its number of arguments, keyed by its names. */
const FUNCTIONS: Readonly<Record<string, readonly [FunctionName, number]>> = {
  IS_DEFINED: ['IS_DEFINED', 1],
  STARTS_WITH: ['STARTS_WITH', 2],
  STARTSWITH: ['STARTS_WITH', 2],
};

const CONSTANTS: Readonly<Record<string, Constant>> = { TRUE: true, FALSE: false, NULL: null, UNDEFINED: undefined };
const RESERVED = new Set(['SELECT', 'FROM', 'WHERE', 'GROUP', 'BY', 'AS', 'AND', 'OR', 'NOT', 'IN', 'NIN', 'TOP']);
const COMPARISONS: Readonly<Record<string, Operator>> = {
  '=': '=',
  '!=': '!=',
  '<>': '!=',
  '<': '<',
  '<=': '<=',
  '>': '>',
  '>=': '>=',
};
const MAX_DEPTH = 100;

/**
 * Parses the part of the hub's query language that is about twins, without arithmetic, TOP, and aggregates other than COUNT.
 * Source: "IoT Hub query language for device and module twins, jobs, and message routing".
 *
 * @throws QueryError
 */
export function parseQuery(text: string): Query {
  const parser = new Parser(tokensOf(text));
  const query = parser.query();
  checkGroups(query);
  return query;
}

/** Only aggregates and members of GROUP BY can be selected. */
function checkGroups({ columns, groupBy }: Query): void {
  if (columns === 'all') {
    if (groupBy.length > 0) throw new QueryError('SELECT * cannot be used with GROUP BY.');
    return;
  }
  const counts = columns.some(({ value }) => value === 'count');
  if (!counts && groupBy.length === 0) return;
  const grouped = groupBy.map((path) => path.join('.'));
  const ungrouped = columns.find(({ value }) => value !== 'count' && !grouped.includes(value.join('.')));
  if (ungrouped !== undefined) throw new QueryError(`${ungrouped.name} is neither an aggregate nor in GROUP BY.`);
}

/** The name of a column without AS. */
const nameOf = (path: Path): string => {
  const name = path.at(-1) ?? '';
  return path.length === 1 ? (MEMBERS.find((known) => known.toLowerCase() === name.toLowerCase()) ?? name) : name;
};

class Parser {
  readonly #tokens: readonly Token[];
  #at = 0;
  #depth = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  query(): Query {
    this.#need('SELECT');
    const columns = this.#take('*') ? 'all' : this.#list(() => this.#column());
    this.#need('FROM');
    const from = this.#path().join('.').toLowerCase();
    if (from !== 'devices' && from !== 'devices.modules')
      throw new QueryError(`FROM ${from} is not supported: devices, or devices.modules.`);
    const where = this.#take('WHERE') ? this.#expression() : undefined;
    const groupBy = this.#take('GROUP') ? this.#groups() : [];
    if (this.#next.kind !== 'end') throw this.#unexpected();
    return { columns, from, where, groupBy };
  }

  #groups(): Path[] {
    this.#need('BY');
    return this.#list(() => this.#path());
  }

  #column(): Column {
    const isCount = this.#isWord('COUNT') && this.#tokens[this.#at + 1]?.text === '(';
    if (isCount) {
      this.#at += 1;
      this.#need('(');
      this.#need(')');
    }
    const value = isCount ? 'count' : this.#path();
    if (this.#take('AS')) return { name: this.#name(), value };
    return { name: value === 'count' ? 'count' : nameOf(value), value };
  }

  /** The operators bind in this order: OR, AND, NOT, comparisons. */
  #expression(): Expression {
    this.#depth += 1;
    if (this.#depth > MAX_DEPTH) throw new QueryError(`The query is nested deeper than ${MAX_DEPTH} levels.`);
    let left = this.#conjunction();
    while (this.#take('OR')) left = { kind: 'binary', operator: 'OR', left, right: this.#conjunction() };
    this.#depth -= 1;
    return left;
  }

  #conjunction(): Expression {
    let left = this.#negation();
    while (this.#take('AND')) left = { kind: 'binary', operator: 'AND', left, right: this.#negation() };
    return left;
  }

  #negation(): Expression {
    let isNegated = false;
    while (this.#take('NOT')) isNegated = !isNegated;
    const of = this.#comparison();
    return isNegated ? { kind: 'not', of } : of;
  }

  #comparison(): Expression {
    const left = this.#operand();
    if (this.#take('IN')) return { kind: 'in', of: left, among: this.#constants(), isNegated: false };
    if (this.#take('NIN')) return { kind: 'in', of: left, among: this.#constants(), isNegated: true };
    const operator = this.#next.kind === 'symbol' ? COMPARISONS[this.#next.text] : undefined;
    if (operator === undefined) return left;
    this.#at += 1;
    return { kind: 'binary', operator, left, right: this.#operand() };
  }

  #operand(): Expression {
    if (this.#take('(')) {
      const inner = this.#expression();
      this.#need(')');
      return inner;
    }
    const token = this.#next;
    const isCall = token.kind === 'word' && this.#tokens[this.#at + 1]?.text === '(';
    if (isCall) return this.#call();
    const constant = this.#constant();
    return constant === undefined ? { kind: 'path', path: this.#path() } : { kind: 'constant', value: constant.value };
  }

  #call(): Expression {
    const { text } = this.#next;
    const known = FUNCTIONS[text.toUpperCase()];
    if (known === undefined) throw new QueryError(`${text} is not a function that is supported.`);
    const [name, count] = known;
    this.#at += 1;
    this.#need('(');
    const of = this.#list(() => this.#expression());
    this.#need(')');
    if (of.length !== count) throw new QueryError(`${text} takes ${count} argument(s), not ${of.length}.`);
    if (name === 'IS_DEFINED' && of[0]?.kind !== 'path') throw new QueryError(`${text} takes a property.`);
    return { kind: 'call', name, of };
  }

  #constants(): Constant[] {
    this.#need('[');
    const values = this.#list(() => {
      const constant = this.#constant();
      if (constant === undefined) throw this.#unexpected();
      return constant.value;
    });
    this.#need(']');
    return values;
  }

  /** In an object, since `undefined` is a constant of the language. */
  #constant(): { readonly value: Constant } | undefined {
    const token = this.#next;
    if (token.kind === 'constant') {
      this.#at += 1;
      return { value: token.value };
    }
    const name = token.kind === 'word' ? token.text.toUpperCase() : '';
    if (!Object.hasOwn(CONSTANTS, name) || this.#tokens[this.#at + 1]?.text === '.') return undefined;
    this.#at += 1;
    return { value: CONSTANTS[name] };
  }

  #path(): Path {
    const path = [this.#name()];
    while (this.#take('.')) path.push(this.#name());
    return path;
  }

  #name(): string {
    const token = this.#next;
    const isName = token.kind === 'quotedName' || (token.kind === 'word' && !RESERVED.has(token.text.toUpperCase()));
    if (!isName) throw this.#unexpected();
    this.#at += 1;
    return token.text;
  }

  #list<T>(one: () => T): T[] {
    const all = [one()];
    while (this.#take(',')) all.push(one());
    return all;
  }

  get #next(): Token {
    return this.#tokens[this.#at] as Token; // the last one is `end`, which is never consumed
  }

  #isWord(word: string): boolean {
    return this.#next.kind === 'word' && this.#next.text.toUpperCase() === word;
  }

  /** Consumes a keyword or symbol if it is next. */
  #take(text: string): boolean {
    const isNext = this.#isWord(text) || (this.#next.kind === 'symbol' && this.#next.text === text);
    if (isNext) this.#at += 1;
    return isNext;
  }

  #need(text: string): void {
    if (!this.#take(text)) throw this.#unexpected(text);
  }

  #unexpected(instead?: string): QueryError {
    const { text, at } = this.#next;
    const expected = instead === undefined ? '' : `, expected ${instead}`;
    return new QueryError(`Syntax error at position ${at + 1}: ${text === '' ? 'the query ends' : text}${expected}`);
  }
}
