import { cut, joined } from './rule-draft.ts';

/* nft's expressions as text, about as nft itself writes them: libnftables-json(5), EXPRESSIONS. What isn't known here is
 * written out by its names and values, so that a newer nft loses nothing. */

/** Of an expression within another. nft's own go three or four deep. */
const DEEPEST = 16;

/** A property of what may be anything. */
export const get = (from: unknown, name: string): unknown =>
  typeof from === 'object' && from !== null && Object.hasOwn(from, name)
    ? (from as Record<string, unknown>)[name]
    : undefined;

export const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [value]);

/** The only property of an object, as most of nft's are made: `{ "payload": … }`. */
export function onlyProperty(of: unknown): { name: string; value: unknown } | undefined {
  if (typeof of !== 'object' || of === null || Array.isArray(of)) return undefined;
  const [name, ...more] = Object.keys(of);
  return name === undefined || more.length > 0 ? undefined : { name, value: get(of, name) };
}

/** A name, or nothing when it isn't one. */
export const nameOf = (value: unknown): string => (typeof value === 'string' ? cut(value) : '');

const words = (...parts: (string | undefined)[]) => parts.filter((part) => part !== undefined && part !== '').join(' ');

/** Writes expressions; remembers what they mention. */
export class ExpressionWriter {
  /** Names of the sets and maps in what was written, without the `@`. */
  readonly mentioned = new Set<string>();
  readonly #leaf: (value: string | number) => string;

  /** @param leaf how to write names and numbers */
  constructor(leaf: (value: string | number) => string = String) {
    this.#leaf = leaf;
  }

  write(expression: unknown): string {
    return cut(this.#text(expression, 0));
  }

  #text(expression: unknown, depth: number): string {
    if (depth > DEEPEST) return '…';
    if (typeof expression === 'string' && /^@./.test(expression)) {
      this.mentioned.add(expression.slice(1));
      return expression;
    }
    if (typeof expression === 'string' || typeof expression === 'number') return this.#leaf(expression);
    if (typeof expression === 'boolean') return expression ? 'exists' : 'missing';
    if (expression === null || expression === undefined) return '';
    const say = (inner: unknown) => this.#text(inner, depth + 1);
    if (Array.isArray(expression)) return joined(expression, ',', say);
    const only = onlyProperty(expression);
    if (only === undefined) return this.#properties(expression, say);
    const form = FORMS.get(only.name);
    if (form !== undefined) return form(only.value, say);
    return words(only.name, typeof only.value === 'object' ? this.#properties(only.value, say) : say(only.value));
  }

  /** `key` says which one of a kind it is, and goes without its name: `{ "key": "mark", "dir": "in" }`. */
  #properties(of: object | null, say: (inner: unknown) => string): string {
    if (of === null) return '';
    if (Array.isArray(of)) return say(of);
    return joined(Object.entries(of), ' ', ([name, value]) => (name === 'key' ? say(value) : words(name, say(value))));
  }
}

type Say = (expression: unknown) => string;

/** `a & b & c`, one level of brackets around what is itself such a term. */
const term = (operator: string) => (of: unknown, say: Say) => {
  const part = (inner: unknown) => {
    const name = onlyProperty(inner)?.name;
    return name !== undefined && OPERATORS.includes(name) && name !== operator ? `(${say(inner)})` : say(inner);
  };
  return joined(listOf(of), operator === '|' ? '|' : ` ${operator} `, part);
};
const OPERATORS = ['&', '|', '^', '<<', '>>'];

/** `tcp option maxseg size`. */
const header = (kind: string) => (of: unknown, say: Say) =>
  words(kind, say(get(of, 'name')), say(get(of, 'field')), say(get(of, 'type')));

const FORMS = new Map<string, (of: unknown, say: Say) => string>(
  Object.entries({
    concat: (of: unknown, say: Say) => joined(listOf(of), ' . ', say),
    set: (of: unknown, say: Say) => joined(listOf(of), ',', (element) => setElement(element, say)),
    // Dates have a `-` of their own.
    range: (of: unknown, say: Say) => {
      const bounds = joined(listOf(of), '\n', say);
      return bounds.replaceAll('\n', bounds.includes('-') ? ' - ' : '-');
    },
    prefix: (of: unknown, say: Say) => `${say(get(of, 'addr'))}/${say(get(of, 'len'))}`,
    elem: (of: unknown, say: Say) =>
      words(say(get(of, 'val')), get(of, 'timeout') === undefined ? undefined : `timeout ${say(get(of, 'timeout'))}s`),
    map: (of: unknown, say: Say) => `${say(get(of, 'key'))} map ${say(get(of, 'data'))}`,
    payload: (of: unknown, say: Say) =>
      get(of, 'base') === undefined
        ? words(say(get(of, 'tunnel')), say(get(of, 'protocol')), say(get(of, 'field')))
        : `@${[get(of, 'base'), get(of, 'offset'), get(of, 'len')].map(say).join(',')}`,
    exthdr: header(''),
    'tcp option': header('tcp option'),
    'ip option': header('ip option'),
    'sctp chunk': header('sctp chunk'),
    'dccp option': header('dccp option'),
    ct: (of: unknown, say: Say) => words('ct', say(get(of, 'dir')), say(get(of, 'family')), say(get(of, 'key'))),
    fib: (of: unknown, say: Say) => words('fib', joined(listOf(get(of, 'flags')), ' . ', say), say(get(of, 'result'))),
    jump: (of: unknown, say: Say) => words('jump', say(get(of, 'target'))),
    goto: (of: unknown, say: Say) => words('goto', say(get(of, 'target'))),
    ...Object.fromEntries(OPERATORS.map((operator) => [operator, term(operator)])),
  }),
);

/** One of a set, or one of a map: `key : value`. */
const setElement = (element: unknown, say: Say): string =>
  Array.isArray(element) && element.length === 2 ? `${say(element[0])} : ${say(element[1])}` : say(element);

/** A named set or map of more elements is only counted. */
const MOST_ELEMENTS = 16;

/**
 * What a named set or map holds, as far as it is short enough to be worth telling. Without what counts down or up: two
 * snapshots of the same set shall be the same.
 */
export function setSummary(elements: readonly unknown[]): string {
  if (elements.length > MOST_ELEMENTS) return `${elements.length} elements`;
  const value = (element: unknown) => {
    const { name, value } = onlyProperty(element) ?? {};
    return name === 'elem' ? get(value, 'val') : element;
  };
  const values = elements.map((element) => (Array.isArray(element) ? element.map(value) : value(element)));
  return new ExpressionWriter().write({ set: values });
}
