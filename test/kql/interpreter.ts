import { kindOf as classOf } from './kusto.ts';
import type { Row } from './mapping.ts';

/* Runs the queries of config/kql/ over rows, by the syntax trees of Microsoft's parser: only the operators and functions
 * of the language that the pack uses; any other is an error. It stands in for a cluster, and is not one. Semantics: "Kusto
 * Query Language", Azure Data Explorer documentation. Strings are never null, a null compares as false, and an empty or null
 * array is expanded to one row with a null, on which the pack must not depend. */

/** A node of the tree. Its members depend on its class, which `kindOf` names. */
// biome-ignore lint/suspicious/noExplicitAny: the parser's classes are not declared, see kusto.ts
type Node = any;

/** A time span, in milliseconds. */
class Span {
  readonly ms: number;
  constructor(ms: number) {
    this.ms = ms;
  }
}

export interface QueryFunction {
  readonly parameters: readonly { readonly name: string; readonly preset: Node }[];
  readonly body: Node;
}

export interface Fleet {
  readonly tables: ReadonlyMap<string, readonly Row[]>;
  readonly functions: ReadonlyMap<string, QueryFunction>;
  readonly now: Date;
}

interface Scope {
  readonly fleet: Fleet;
  readonly variables: ReadonlyMap<string, unknown>;
  readonly row?: Row;
  /** The row before, in a sorted table. */
  readonly previous?: Row | undefined;
}

/** Each node is visited once for each row. */
function remembered<T>(of: (node: Node) => T): (node: Node) => T {
  const known = new WeakMap<object, { readonly value: T }>();
  return (node) => {
    const found = known.get(node) ?? { value: of(node) };
    known.set(node, found);
    return found.value;
  };
}

const kindOf = remembered(classOf);
const textOf = remembered((node): string => node.toString().trim());
const elementsOf = remembered((list): readonly Node[] =>
  Array.from({ length: list.Count }, (_, index) => list.getItem(index).Element$1),
);

/** @param root of a query: statements, the last of which is the query's table */
export function run(root: Node, fleet: Fleet, given: ReadonlyMap<string, unknown> = new Map()): readonly Row[] {
  const variables = new Map(given);
  let result: unknown;
  for (const statement of elementsOf(root.Statements)) {
    const value = evaluate(statement.Expression, { fleet, variables });
    if (kindOf(statement) === 'LetStatement') variables.set(textOf(statement.Name), value);
    else result = value;
  }
  return tableOf(result);
}

function tableOf(value: unknown): readonly Row[] {
  if (!Array.isArray(value)) throw new Error('is no table');
  return value as readonly Row[];
}

function evaluate(node: Node, scope: Scope): unknown {
  switch (kindOf(node)) {
    case 'PipeExpression':
      return apply(node.Operator, tableOf(evaluate(node.Expression, scope)), scope);
    case 'ParenthesizedExpression':
    case 'BracketedExpression':
    case 'SimpleNamedExpression':
      return evaluate(node.Expression, scope);
    case 'NameReference':
      return named(node.SimpleName, scope);
    case 'LiteralExpression':
      return literal(node);
    case 'PathExpression':
      return memberOf(evaluate(node.Expression, scope), textOf(node.Selector));
    case 'ElementExpression':
      return memberOf(evaluate(node.Expression, scope), evaluate(node.Selector, scope));
    case 'PrefixUnaryExpression':
      return -(evaluate(node.Expression, scope) as number);
    case 'BinaryExpression':
      return binary(textOf(node.Operator), evaluate(node.Left, scope), () => evaluate(node.Right, scope));
    case 'InExpression': {
      const value = evaluate(node.Left, scope);
      return elementsOf(node.Right.Expressions).some((each) => evaluate(each, scope) === value);
    }
    case 'BetweenExpression': {
      const value = evaluate(node.Left, scope);
      const [first, last] = [evaluate(node.Right.First, scope), evaluate(node.Right.Second, scope)];
      return binary('>=', value, () => first) === true && binary('<=', value, () => last) === true;
    }
    case 'FunctionCallExpression':
      return call(node, scope);
    default:
      throw new Error(`${kindOf(node)} is new here: ${textOf(node)}`);
  }
}

function named(name: string, { row, variables, fleet }: Scope): unknown {
  if (row !== undefined && Object.hasOwn(row, name)) return row[name];
  if (variables.has(name)) return variables.get(name);
  const table = fleet.tables.get(name);
  if (table !== undefined) return table;
  if (row === undefined) throw new Error(`${name} is unknown`);
  return null; // a column of an empty table: the parser has bound the name
}

const UNITS: Readonly<Record<string, number>> = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1_000 };

const literal = remembered((node): unknown => {
  const text = textOf(node);
  const [, count, unit = ''] = /^(\d+)([dhms])$/.exec(text) ?? [];
  if (count !== undefined) return new Span(Number(count) * (UNITS[unit] ?? Number.NaN));
  if (/^-?[\d.]+$/.test(text)) return Number(text);
  if (/^\w+\(null\)$/.test(text)) return null;
  if (typeof node.LiteralValue === 'string') return node.LiteralValue;
  throw new Error(`the literal ${text} is new here`);
});

function memberOf(value: unknown, name: unknown): unknown {
  if (Array.isArray(value) && typeof name === 'number') return value.at(name) ?? null;
  if (typeof value !== 'object' || value === null || value instanceof Date) return null;
  return (value as Row)[String(name)] ?? null;
}

function binary(operator: string, left: unknown, rightOf: () => unknown): unknown {
  if (operator === 'and') return left === true && rightOf() === true;
  if (operator === 'or') return left === true || rightOf() === true;
  const right = rightOf();
  if (operator === '-' && left instanceof Date)
    return right instanceof Span
      ? new Date(left.getTime() - right.ms)
      : new Span(left.getTime() - (right as Date).getTime());
  if (operator === '/' && left instanceof Span) return left.ms / (right as Span).ms;
  const [a, b] = [comparable(left), comparable(right)];
  if (a === null || b === null) return null;
  switch (operator) {
    case '==':
      return a === b;
    case '<':
      return a < b;
    case '<=':
      return a <= b;
    case '>':
      return a > b;
    case '>=':
      return a >= b;
    case '+':
      return (a as number) + (b as number);
    case '-':
      return (a as number) - (b as number);
    case '*':
      return (a as number) * (b as number);
    case '/':
      return (a as number) / (b as number);
    case 'startswith':
      return String(a).toLowerCase().startsWith(String(b).toLowerCase());
    default:
      throw new Error(`the operator ${operator} is new here`);
  }
}

function comparable(value: unknown): string | number | boolean | null {
  if (value instanceof Date) return value.getTime();
  if (value instanceof Span) return value.ms;
  if (value === null || value === undefined) return null;
  if (typeof value === 'object') throw new Error(`a dynamic value is compared: ${JSON.stringify(value)}`);
  return value as string | number | boolean;
}

const toText = (value: unknown): string => {
  if (value === null || value === undefined) return '';
  return typeof value === 'object' && !(value instanceof Date) ? JSON.stringify(value) : String(value);
};

function toNumber(value: unknown): number | null {
  if (typeof value === 'number') return value;
  return typeof value === 'string' && /^-?\d+$/.test(value) ? Number(value) : null;
}

function toTime(value: unknown): Date | null {
  if (value instanceof Date) return value;
  const time = new Date(typeof value === 'string' ? value : Number.NaN);
  return Number.isNaN(time.getTime()) ? null : time;
}

const isMissing = (value: unknown): boolean => value === null || value === undefined || value === '';

type Scalar = (values: readonly unknown[], scope: Scope) => unknown;

const SCALARS: Readonly<Record<string, Scalar>> = {
  tostring: ([value]) => toText(value),
  tolong: ([value]) => toNumber(value),
  toint: ([value]) => toNumber(value),
  tobool: ([value]) => (typeof value === 'boolean' ? value : null),
  todatetime: ([value]) => toTime(value),
  isempty: ([value]) => toText(value) === '',
  isnotempty: ([value]) => toText(value) !== '',
  isnull: ([value]) => value === null || value === undefined,
  isnotnull: ([value]) => value !== null && value !== undefined,
  coalesce: (values) => values.find((value) => !isMissing(value)) ?? null,
  iff: ([condition, yes, no]) => (condition === true ? yes : no),
  split: ([text, by]) => String(text).split(String(by)),
  ago: ([span], { fleet }) => new Date(fleet.now.getTime() - (span as Span).ms),
  now: (_, { fleet }) => fleet.now,
  bin: ([time, span]) => new Date(Math.floor((time as Date).getTime() / (span as Span).ms) * (span as Span).ms),
  bag_keys: ([bag]) => (typeof bag === 'object' && bag !== null ? Object.keys(bag) : null),
  set_has_element: ([set, value]) => Array.isArray(set) && set.includes(value),
  extract: ([pattern, group, text]) => new RegExp(String(pattern)).exec(String(text))?.[Number(group)] ?? '',
};

function call(node: Node, scope: Scope): unknown {
  const name: string = node.Name.SimpleName;
  const given = elementsOf(node.ArgumentList.Expressions);
  if (name === 'prev') {
    const { previous, ...others } = scope;
    return previous === undefined ? null : evaluate(given[0], { ...others, row: previous });
  }
  const values = given.map((each) => evaluate(each, scope));
  const ofFleet = scope.fleet.functions.get(name);
  if (ofFleet === undefined) {
    const scalar = SCALARS[name];
    if (scalar === undefined) throw new Error(`the function ${name} is new here`);
    return scalar(values, scope);
  }
  const variables = ofFleet.parameters.map(({ name: parameter, preset }, index) => [
    parameter,
    index < values.length ? values[index] : literal(preset),
  ]);
  return run(ofFleet.body, scope.fleet, new Map(variables as [string, unknown][]));
}

function apply(operator: Node, rows: readonly Row[], scope: Scope): readonly Row[] {
  switch (kindOf(operator)) {
    case 'FilterOperator':
      return rows.filter((row) => evaluate(operator.Condition, { ...scope, row }) === true);
    case 'ProjectOperator':
      return rows.map((row) => columns(operator, { ...scope, row }));
    case 'ExtendOperator':
      return rows.map((row, index) => ({ ...row, ...columns(operator, { ...scope, row, previous: rows[index - 1] }) }));
    case 'MvExpandOperator':
      return expand(operator, rows, scope);
    case 'SummarizeOperator':
      return summarize(operator, rows, scope);
    case 'SortOperator':
      return sorted(operator, rows, scope);
    case 'JoinOperator':
      return joined(operator, rows, tableOf(evaluate(operator.Expression, scope)));
    default:
      throw new Error(`the operator ${kindOf(operator)} is new here`);
  }
}

/** The name that a column gets: a given one, or that of the column it is. */
function nameOf(node: Node): string {
  if (kindOf(node) === 'SimpleNamedExpression') return textOf(node.Name);
  if (kindOf(node) === 'NameReference') return node.SimpleName;
  throw new Error(`a column without a name: ${textOf(node)}`);
}

const columns = (operator: Node, scope: Scope): Row =>
  Object.fromEntries(elementsOf(operator.Expressions).map((each) => [nameOf(each), evaluate(each, scope)]));

function expand(operator: Node, rows: readonly Row[], scope: Scope): readonly Row[] {
  const [expanded, ...more] = elementsOf(operator.Expressions);
  if (more.length > 0) throw new Error('mv-expand of two columns is new here');
  const name = nameOf(expanded.Expression);
  return rows.flatMap((row) => {
    const value = evaluate(expanded.Expression, { ...scope, row });
    const values = Array.isArray(value) && value.length > 0 ? value : [null];
    return values.map((each) => ({ ...row, [name]: expanded.ToTypeOf === null ? each : toText(each) }));
  });
}

function summarize(operator: Node, rows: readonly Row[], scope: Scope): readonly Row[] {
  const by = operator.ByClause === null ? [] : elementsOf(operator.ByClause.Expressions);
  const groups = new Map<string, { readonly keys: Row; readonly rows: Row[] }>();
  for (const row of rows) {
    const keys = Object.fromEntries(by.map((each) => [nameOf(each), evaluate(each, { ...scope, row })]));
    const id = JSON.stringify(keys);
    const group = groups.get(id) ?? { keys, rows: [] };
    group.rows.push(row);
    groups.set(id, group);
  }
  return [...groups.values()].map(({ keys, rows: members }) => ({
    ...Object.assign({}, ...elementsOf(operator.Aggregates).map((each) => aggregate(each, members, scope))),
    ...keys,
  }));
}

/** One column; several of `arg_max` and `arg_min`. */
function aggregate(node: Node, rows: readonly Row[], scope: Scope): Row {
  const isNamed = kindOf(node) === 'SimpleNamedExpression';
  const callNode = isNamed ? node.Expression : node;
  const name: string = callNode.Name.SimpleName;
  const given = elementsOf(callNode.ArgumentList.Expressions);
  const valuesOf = (each: Node) => rows.map((row) => evaluate(each, { ...scope, row }));
  if (name === 'arg_max' || name === 'arg_min') {
    const [by, ...others] = given;
    const values = valuesOf(by);
    const best = values.reduce<number>(
      (found, value, index) =>
        binary(name === 'arg_max' ? '>' : '<', value, () => values[found]) === true ? index : found,
      0,
    );
    const row = rows[best] ?? {};
    const chosen = others.some((each) => kindOf(each) === 'StarExpression')
      ? row
      : Object.fromEntries(others.map((each) => [nameOf(each), evaluate(each, { ...scope, row })]));
    return { ...chosen, [nameOf(by)]: values[best] };
  }
  if (!isNamed) throw new Error(`a column without a name: ${textOf(node)}`);
  return { [nameOf(node)]: total(name, given, valuesOf, rows.length) };
}

function total(
  name: string,
  given: readonly Node[],
  valuesOf: (node: Node) => readonly unknown[],
  count: number,
): unknown {
  if (name === 'count') return count;
  const values = valuesOf(given[0]).filter((value) => value !== null && value !== undefined);
  const numbers = values as readonly unknown[] as readonly number[];
  const sum = () => numbers.reduce((all, each) => all + each, 0);
  switch (name) {
    case 'countif':
      return values.filter((value) => value === true).length;
    case 'sum':
      return sum();
    case 'avg':
      return sum() / numbers.length;
    case 'stdev': {
      const mean = sum() / numbers.length;
      const squares = numbers.reduce((all, each) => all + (each - mean) ** 2, 0);
      return numbers.length < 2 ? 0 : Math.sqrt(squares / (numbers.length - 1));
    }
    case 'min':
    case 'max':
      return values.reduce<unknown>(
        (best, value) =>
          best === null || binary(name === 'max' ? '>' : '<', value, () => best) === true ? value : best,
        null,
      );
    case 'dcount':
      return new Set(values.map(toKey)).size;
    case 'take_any':
      return values[0] ?? null;
    case 'make_set':
      return [...new Map(values.map((value) => [toKey(value), value])).values()].slice(0, limitOf(given[1]));
    default:
      throw new Error(`the aggregation ${name} is new here`);
  }
}

const toKey = (value: unknown): string => JSON.stringify(value);
const limitOf = (node: Node | undefined): number => (node === undefined ? 1_048_576 : Number(textOf(node)));

function sorted(operator: Node, rows: readonly Row[], scope: Scope): readonly Row[] {
  const orders = elementsOf(operator.Expressions).map((each) => ({
    expression: each.Expression,
    sign: textOf(each.Ordering.AscOrDescKeyword) === 'asc' ? 1 : -1,
  }));
  const compare = (a: Row, b: Row): number => {
    for (const { expression, sign } of orders) {
      const [left, right] = [a, b].map((row) => comparable(evaluate(expression, { ...scope, row })) ?? '');
      if (left !== right) return (left ?? '') < (right ?? '') ? -sign : sign;
    }
    return 0;
  };
  return rows.toSorted(compare);
}

function joined(operator: Node, left: readonly Row[], right: readonly Row[]): readonly Row[] {
  const kind = textOf(operator.Parameters.getItem(0).Expression);
  const keys = elementsOf(operator.ConditionClause.Expressions).map(nameOf);
  const idOf = (row: Row) => JSON.stringify(keys.map((key) => row[key]));
  const groups = new Map<string, Row[]>();
  for (const row of right) {
    const id = idOf(row);
    const known = groups.get(id);
    if (known === undefined) groups.set(id, [row]);
    else known.push(row);
  }
  const nothing = Object.fromEntries(Object.keys(right[0] ?? {}).map((name) => [name, null]));
  return left.flatMap((row) => {
    const found = groups.get(idOf(row)) ?? (kind === 'leftouter' ? [nothing] : []);
    return found.map((other) => {
      const renamed = Object.entries(other).map(([name, value]) => [
        Object.hasOwn(row, name) ? `${name}1` : name,
        value,
      ]);
      return { ...row, ...Object.fromEntries(renamed) };
    });
  });
}
