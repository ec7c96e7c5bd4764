import { isPlainObject } from '../../core/base/values.ts';
import type { QueryDocument } from './documents.ts';
import type { Column, Constant, Expression, FunctionName, Operator, Path, Query } from './parse.ts';

/** A part of a query's result. */
export interface Page {
  readonly rows: readonly unknown[];
  /** Number of documents examined so far; omitted after the last one. */
  readonly next?: number;
}

/**
 * Runs a query over documents.
 *
 * @param from number of documents that earlier pages have examined
 * @param limit maximum number of rows; groups are always on one page
 */
export function runQuery(
  { columns, where, groupBy }: Query,
  documents: Iterable<QueryDocument>,
  { from, limit }: { readonly from: number; readonly limit: number },
): Page {
  const selects = compileCondition(where);
  if (columns !== 'all' && (groupBy.length > 0 || columns.some(({ value }) => value === 'count')))
    return { rows: grouped(columns, documents, selects) };
  const rows: unknown[] = [];
  let looked = 0;
  for (const document of documents) {
    looked += 1;
    if (looked <= from || !selects(document)) continue;
    rows.push(columns === 'all' ? document.whole() : projected(columns, document));
    if (rows.length === limit) return { rows, next: looked };
  }
  return { rows };
}

/** Omits undefined values. */
function projected(columns: readonly Column[], document: QueryDocument): Record<string, unknown> {
  const members = columns.map(({ name, value }) => [name, value === 'count' ? undefined : valueAt(document, value)]);
  return Object.fromEntries(members.filter(([, value]) => value !== undefined));
}

function grouped(
  columns: readonly Column[],
  documents: Iterable<QueryDocument>,
  selects: (document: QueryDocument) => boolean,
): Record<string, unknown>[] {
  const groups = new Map<string, { values: Record<string, unknown>; count: number }>();
  for (const document of documents) {
    if (!selects(document)) continue;
    const values = projected(columns, document);
    const group = groups.get(JSON.stringify(values)) ?? { values, count: 0 };
    group.count += 1;
    groups.set(JSON.stringify(values), group);
  }
  const isOne = columns.every(({ value }) => value === 'count');
  if (groups.size === 0 && isOne) groups.set('', { values: {}, count: 0 });
  return [...groups.values()].map(({ values, count }) => ({
    ...values,
    ...Object.fromEntries(columns.filter(({ value }) => value === 'count').map(({ name }) => [name, count])),
  }));
}

/** Evaluates an expression; `undefined` is neither true nor false. */
type Evaluator = (document: QueryDocument) => unknown;

/** Compiles a condition: only `true` selects a document. */
export function compileCondition(condition: Expression | undefined): (document: QueryDocument) => boolean {
  if (condition === undefined) return () => true;
  const evaluate = compile(condition);
  return (document) => evaluate(document) === true;
}

/** The value at a path. */
export function valueAt(document: QueryDocument, [first = '', ...rest]: Path): unknown {
  let value = document.member(first);
  for (const each of rest) {
    if (!isPlainObject(value) || !Object.hasOwn(value, each)) return undefined;
    value = value[each];
  }
  return value;
}

function compile(expression: Expression): Evaluator {
  switch (expression.kind) {
    case 'constant':
      return () => expression.value;
    case 'path':
      return (document) => valueAt(document, expression.path);
    case 'call':
      return FUNCTIONS[expression.name](expression.of.map(compile));
    case 'not': {
      const of = compile(expression.of);
      return (document) => negated(of(document));
    }
    case 'in': {
      const of = compile(expression.of);
      const among = new Set(expression.among);
      return (document) => {
        const value = of(document);
        if (!isPrimitive(value)) return undefined;
        return among.has(value) !== expression.isNegated;
      };
    }
    case 'binary':
      return OPERATORS[expression.operator](compile(expression.left), compile(expression.right));
  }
}

const FUNCTIONS: Readonly<Record<FunctionName, (of: readonly Evaluator[]) => Evaluator>> = {
  IS_DEFINED:
    ([of]) =>
    (document) =>
      of?.(document) !== undefined,
  STARTS_WITH:
    ([of, beginning]) =>
    (document) => {
      const [text, start] = [of?.(document), beginning?.(document)];
      return typeof text === 'string' && typeof start === 'string' ? text.startsWith(start) : undefined;
    },
};

/** Values are compared with values of the same type only; whether a hub converts between types is not documented. */
const comparison =
  (holds: (left: string | number | boolean, right: string | number | boolean) => boolean, forOthers?: boolean) =>
  (left: Evaluator, right: Evaluator): Evaluator =>
  (document) => {
    const [a, b] = [left(document), right(document)];
    if (!isPrimitive(a) || !isPrimitive(b)) return undefined;
    if (a === null || b === null) return forOthers === undefined ? undefined : (a === b) !== forOthers;
    return typeof a === typeof b ? holds(a, b) : forOthers;
  };

const OPERATORS: Readonly<Record<Operator, (left: Evaluator, right: Evaluator) => Evaluator>> = {
  AND: (left, right) => (document) => {
    const a = left(document);
    if (a === false) return false;
    const b = right(document);
    return b === false ? false : a === true && b === true ? true : undefined;
  },
  OR: (left, right) => (document) => {
    const a = left(document);
    if (a === true) return true;
    const b = right(document);
    return b === true ? true : a === false && b === false ? false : undefined;
  },
  '=': comparison((a, b) => a === b, false),
  '!=': comparison((a, b) => a !== b, true),
  '<': comparison((a, b) => a < b),
  '<=': comparison((a, b) => a <= b),
  '>': comparison((a, b) => a > b),
  '>=': comparison((a, b) => a >= b),
};

const negated = (value: unknown) => (typeof value === 'boolean' ? !value : undefined);

const isPrimitive = (value: unknown): value is Exclude<Constant, undefined> =>
  value === null || ['string', 'number', 'boolean'].includes(typeof value);
