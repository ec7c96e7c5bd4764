import { cut, joined } from './rule-draft.ts';

/* Expressions of nft as text, much as nft itself writes them: libnftables-json(5), EXPRESSIONS. Unknown expressions are
 * written with their names and values, so that nothing is lost when nft is newer than the agent. */

/** Nesting depth. nft's own expressions go three or four deep. */
const DEEPEST = 16;

/** A property of a value of any type. */
export const get = (from: unknown, name: string): unknown =>
  typeof from === 'object' && from !== null && Object.hasOwn(from, name)
    ? (from as Record<string, unknown>)[name]
    : undefined;

export const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [value]);

/** The only property of an object, the usual form of nft's objects: `{ "payload": … }`. */
export function onlyProperty(of: unknown): { name: string; value: unknown } | undefined {
  if (typeof of !== 'object' || of === null || Array.isArray(of)) return undefined;
  const [name, ...more] = Object.keys(of);
  return name === undefined || more.length > 0 ? undefined : { name, value: get(of, name) };
}

/** A name, or `undefined` when it is not a string. */
export const nameOf = (value: unknown): string => (typeof value === 'string' ? cut(value) : '');

const words = (...parts: (string | undefined)[]) => parts.filter((part) => part !== undefined && part !== '').join(' ');

/** Writes expressions and records the sets that they mention. */
export class ExpressionWriter {
  /** Names of the sets and maps mentioned so far, without the `@`. */
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

  /** `key` selects one of a kind and is written without its name: `{ "key": "mark", "dir": "in" }`. */
  #properties(of: object | null, say: (inner: unknown) => string): string {
    if (of === null) return '';
    if (Array.isArray(of)) return say(of);
    return joined(Object.entries(of), ' ', ([name, value]) => (name === 'key' ? say(value) : words(name, say(value))));
  }
}

type Say = (expression: unknown) => string;

/** `a & b & c`, with parentheses around operands that are such terms themselves. */
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
    // A date contains `-` itself.
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

/** An element of a set, or one of a map: `key : value`. */
const setElement = (element: unknown, say: Say): string =>
  Array.isArray(element) && element.length === 2 ? `${say(element[0])} : ${say(element[1])}` : say(element);

/** Of a named set or map with more elements, only the number is given. */
const MAX_ELEMENTS = 16;

/**
 * The content of a named set or map, if it is short. Timeouts and counters are left out, so that two snapshots of an
 * unchanged set are equal.
 */
export function setSummary(elements: readonly unknown[]): string {
  if (elements.length > MAX_ELEMENTS) return `${elements.length} elements`;
  const value = (element: unknown) => {
    const { name, value } = onlyProperty(element) ?? {};
    return name === 'elem' ? get(value, 'val') : element;
  };
  const values = elements.map((element) => (Array.isArray(element) ? element.map(value) : value(element)));
  return new ExpressionWriter().write({ set: values });
}
