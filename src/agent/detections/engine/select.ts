import { fieldsOf, hasKeyword } from '../sigma/log-source.ts';
import type { Expression } from '../sigma/rule.ts';
import {
  all,
  anyOf,
  byCost,
  type Context,
  compile,
  type List,
  type Matcher,
  neededBy,
  textsNeededBy,
} from './compile.ts';
import { LiteralCollector, Literals } from './literals.ts';
import type { Row } from './row.ts';
import type { Selection } from './selection.ts';

/** The compiled condition of a rule. */
export interface Condition {
  readonly matches: Matcher;
  /** Names of the selections that make a row match, in the order of the condition; for alternatives, the first that matches. */
  readonly selections: (row: Row) => readonly string[];
}

const NONE = (): readonly string[] => [];

/** Compiles a condition with all its selections. Cheap ones are evaluated first. */
export function compileCondition(expression: Expression, context: Context): Condition {
  const { selection } = expression;
  if (selection !== undefined) {
    const names = [selection];
    return { matches: compile(expression, context), selections: () => names };
  }
  if (expression.is !== 'and' && expression.is !== 'or')
    return { matches: compile(expression, context), selections: NONE };
  const ordered = byCost(expression.of);
  const compiled = ordered.map((each) => compileCondition(each, context));
  const matchers = compiled.map(({ matches }) => matches);
  const parts = expression.of.map((each) => compiled[ordered.indexOf(each)] as Condition);
  if (expression.is === 'and') {
    return { matches: all(matchers), selections: (row) => parts.flatMap(({ selections }) => selections(row)) };
  }
  return {
    matches: anyOf(matchers),
    selections: (row) => parts.find(({ matches }) => matches(row))?.selections(row) ?? [],
  };
}

/** Collects the selection of these rules, by their index in the list. */
export function select(expressions: readonly Expression[], list: List): Selection {
  const slots = new Map<string, number>();
  const slotOf = (field: string): number => {
    const known = slots.get(field) ?? slots.size;
    slots.set(field, known);
    return known;
  };
  const literals = new LiteralCollector();
  const gates: Context['gates'] = (field, tests) => {
    for (const test of tests) literals.gate(slotOf(field), textsNeededBy(test, list));
    return CLOSED;
  };
  const always: number[] = [];
  const firstGates: number[] = [];
  for (const [rule, expression] of expressions.entries()) {
    for (const field of fieldsOf(expression)) slotOf(field);
    firstGates.push(literals.gateCount);
    compileCondition(expression, { slotOf, list, gates }); // collects all its gates
    const needed = neededBy(expression, list);
    if (needed === undefined) always.push(rule);
    else for (const { field, text } of needed) literals.select(slotOf(field), text, rule);
  }
  firstGates.push(literals.gateCount);
  return {
    fields: [...slots.keys()],
    tables: { ...literals.tables(), always: Uint32Array.from(always), firstGates: Uint32Array.from(firstGates) },
    ...(expressions.some(hasKeyword) ? { hasKeywords: true } : {}),
  };
}

const CLOSED = { next: () => 0 };

/** A selection in use: the rules that the fields of an event select. */
export class Selected {
  readonly #fields: readonly string[];
  readonly #firstGates: Uint32Array;
  readonly literals: Literals;

  constructor({ fields, tables }: Selection) {
    this.#fields = fields;
    this.#firstGates = tables.firstGates;
    this.literals = new Literals(tables, tables.firstGates.at(-1) ?? 0);
  }

  /** The gates of a rule, in the order of its expression. */
  gatesOf(rule: number): Context['gates'] {
    let next = this.#firstGates[rule] as number;
    return (field, { length }) => {
      const first = next;
      next += length;
      return this.literals.gates(this.#fields.indexOf(field), first, length);
    };
  }
}
