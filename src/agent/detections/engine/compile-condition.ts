import type { Expression } from '../sigma/rule.ts';
import { all, anyOf, byCost, type Context, compile, type Matcher } from './compile.ts';
import type { Row } from './row.ts';

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
