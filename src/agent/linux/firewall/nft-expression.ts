import { cut, joined } from './rule-draft.ts';

/* Expressions of nft as text, much as nft itself writes them: libnftables-json(5), EXPRESSIONS. Unknown expressions are
 * written with their names and values, so that nothing is lost when nft is newer than the agent. */

/** Nesting depth. nft's own expressions go three or four deep. */
const MAX_DEPTH = 16;

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
    if (depth > MAX_DEPTH) return '…';
    if (typeof expression === 'string' && /^@./.test(expression)) {
      this.mentioned.add(expression.slice(1));
      return expression;
    }
    if (typeof expression === 'string' || typeof expression === 'number') return this.#leaf(expression);
    if (typeof expression === 'boolean') return expression ? 'exists' : 'missing';
    if (expression === null || expression === undefined) return '';
    const write = (inner: unknown) => this.#text(inner, depth + 1);
    if (Array.isArray(expression)) return joined(expression, ',', write);
    const only = onlyProperty(expression);
    if (only === undefined) return this.#properties(expression, write);
    const form = FORMS.get(only.name);
    if (form !== undefined) return form(only.value, write);
    return words(only.name, typeof only.value === 'object' ? this.#properties(only.value, write) : write(only.value));
  }

  /** `key` selects one of a kind and is written without its name: `{ "key": "mark", "dir": "in" }`. */
  #properties(of: object | null, write: (inner: unknown) => string): string {
    if (of === null) return '';
    if (Array.isArray(of)) return write(of);
    return joined(Object.entries(of), ' ', ([name, value]) =>
      name === 'key' ? write(value) : words(name, write(value)),
    );
  }
}

type Write = (expression: unknown) => string;

/** `a & b & c`, with parentheses around operands that are such terms themselves. */
const term = (operator: string) => (of: unknown, write: Write) => {
  const part = (inner: unknown) => {
    const name = onlyProperty(inner)?.name;
    return name !== undefined && OPERATORS.includes(name) && name !== operator ? `(${write(inner)})` : write(inner);
  };
  return joined(listOf(of), operator === '|' ? '|' : ` ${operator} `, part);
};
const OPERATORS = ['&', '|', '^', '<<', '>>'];

/** `tcp option maxseg size`. */
const header = (kind: string) => (of: unknown, write: Write) =>
  words(kind, write(get(of, 'name')), write(get(of, 'field')), write(get(of, 'type')));

const FORMS = new Map<string, (of: unknown, write: Write) => string>(
  Object.entries({
    concat: (of: unknown, write: Write) => joined(listOf(of), ' . ', write),
    set: (of: unknown, write: Write) => joined(listOf(of), ',', (element) => setElement(element, write)),
    // A date contains `-` itself.
    range: (of: unknown, write: Write) => {
      const bounds = joined(listOf(of), '\n', write);
      return bounds.replaceAll('\n', bounds.includes('-') ? ' - ' : '-');
    },
    prefix: (of: unknown, write: Write) => `${write(get(of, 'addr'))}/${write(get(of, 'len'))}`,
    elem: (of: unknown, write: Write) =>
      words(
        write(get(of, 'val')),
        get(of, 'timeout') === undefined ? undefined : `timeout ${write(get(of, 'timeout'))}s`,
      ),
    map: (of: unknown, write: Write) => `${write(get(of, 'key'))} map ${write(get(of, 'data'))}`,
    payload: (of: unknown, write: Write) =>
      get(of, 'base') === undefined
        ? words(write(get(of, 'tunnel')), write(get(of, 'protocol')), write(get(of, 'field')))
        : `@${[get(of, 'base'), get(of, 'offset'), get(of, 'len')].map(write).join(',')}`,
    exthdr: header(''),
    'tcp option': header('tcp option'),
    'ip option': header('ip option'),
    'sctp chunk': header('sctp chunk'),
    'dccp option': header('dccp option'),
    ct: (of: unknown, write: Write) =>
      words('ct', write(get(of, 'dir')), write(get(of, 'family')), write(get(of, 'key'))),
    fib: (of: unknown, write: Write) =>
      words('fib', joined(listOf(get(of, 'flags')), ' . ', write), write(get(of, 'result'))),
    jump: (of: unknown, write: Write) => words('jump', write(get(of, 'target'))),
    goto: (of: unknown, write: Write) => words('goto', write(get(of, 'target'))),
    ...Object.fromEntries(OPERATORS.map((operator) => [operator, term(operator)])),
  }),
);

/** An element of a set, or one of a map: `key : value`. */
const setElement = (element: unknown, write: Write): string =>
  Array.isArray(element) && element.length === 2 ? `${write(element[0])} : ${write(element[1])}` : write(element);

/** If a named set or map has more elements, only their number is returned. */
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
