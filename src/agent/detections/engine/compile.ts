import { better } from '../../pattern/literals.ts';
import { fold } from '../../pattern/ranges.ts';
import type { Expression, Place, Test, TextTest, Wildcards } from '../sigma/rule.ts';
import { usable } from './literal-search.ts';
import type { Gates } from './literals.ts';
import type { Row } from './row.ts';

type PatternTest = Extract<Test, { is: 'pattern' }>;

export type Matcher = (row: Row) => boolean;

/** The entries of a list in the twin; empty if it isn't set. */
export type List = (name: string) => readonly string[];

/** Context of the compilation. */
export interface Context {
  readonly slotOf: (field: string) => number;
  readonly list: List;
  /** Gates for the tests of a field. Compiling the same expression again returns the same gates. */
  readonly gates: (field: string, tests: readonly PatternTest[]) => Gates;
}

/** Cheap tests first: the first field often decides whether an expression matches. */
export function compile(expression: Expression, context: Context): Matcher {
  switch (expression.is) {
    case 'and':
      return all(byCost(expression.of).map((of) => compile(of, context)));
    case 'or':
      return any(byCost(expression.of), context);
    case 'not': {
      const of = compile(expression.of, context);
      return (row) => !of(row);
    }
    case 'field':
      return ofField(expression.field, expression.test, context);
    case 'keyword': {
      const holds = textHolds(expression.test);
      return (row) => row.all(expression.test.cased).some(holds);
    }
  }
}

export function all(of: readonly Matcher[]): Matcher {
  const [one = () => true, two] = of;
  if (of.length === 1) return one;
  if (of.length === 2 && two !== undefined) return (row) => one(row) && two(row);
  return (row) => {
    for (const each of of) if (!each(row)) return false;
    return true;
  };
}

/** Few patterns have one of their literals in the text; the rest are not called. */
function any(of: readonly Expression[], context: Context): Matcher {
  const patterns = new Map<string, PatternTest[]>();
  const rest: Matcher[] = [];
  for (const each of of) {
    if (each.is !== 'field' || each.test.is !== 'pattern') rest.push(compile(each, context));
    else {
      const same = patterns.get(each.field);
      if (same === undefined) patterns.set(each.field, [each.test]);
      else same.push(each.test);
    }
  }
  return anyOf([...rest, ...[...patterns].map(([field, tests]) => anyPattern(field, tests, context))]);
}

export function anyOf(of: readonly Matcher[]): Matcher {
  const [one = () => false, two] = of;
  if (of.length === 1) return one;
  if (of.length === 2 && two !== undefined) return (row) => one(row) || two(row);
  return (row) => {
    for (const each of of) if (each(row)) return true;
    return false;
  };
}

function anyPattern(field: string, tests: readonly PatternTest[], context: Context): Matcher {
  const slot = context.slotOf(field);
  const gates = context.gates(field, tests);
  return (row) => {
    for (let at = gates.next(0); at < tests.length; at = gates.next(at + 1)) {
      const value = row.matchedText(slot);
      if (value !== undefined && (tests[at] as PatternTest).pattern.matches(value)) return true;
    }
    return false;
  };
}

const FILTER = 1_000;

export const byCost = (of: readonly Expression[]) => [...of].sort((a, b) => cost(a) - cost(b));

function cost(expression: Expression): number {
  switch (expression.is) {
    case 'and':
    case 'or':
      return expression.of.reduce((sum, of) => sum + cost(of), 0);
    case 'not':
      return FILTER + cost(expression.of); // the filter is useful only for rows that match the rest
    case 'keyword':
      return 20;
    case 'field':
      return { text: 1, exists: 1, number: 2, field: 2, wildcards: 4, list: 8, network: 10, pattern: 30 }[
        expression.test.is
      ];
  }
}

function ofField(field: string, test: Test, context: Context): Matcher {
  const slot = context.slotOf(field);
  switch (test.is) {
    case 'text':
    case 'wildcards': {
      const holds = textHolds(test);
      if (test.cased)
        return (row) => {
          const value = row.text(slot);
          return value !== undefined && holds(value);
        };
      return (row) => {
        const value = row.folded(slot);
        return value !== undefined && holds(value);
      };
    }
    case 'pattern':
      return anyPattern(field, [test], context);
    case 'network':
      return (row) => {
        const value = row.text(slot);
        return value !== undefined && test.network.has(value);
      };
    case 'exists':
      return (row) => (row.text(slot) !== undefined) === test.exists;
    case 'number': {
      const compare = COMPARE[test.compare];
      return (row) => {
        const value = row.text(slot);
        return value !== undefined && value.trim() !== '' && compare(Number(value), test.than);
      };
    }
    case 'field': {
      const other = context.slotOf(test.other);
      const holds = PLACED[test.place];
      return (row) => {
        const value = test.cased ? row.text(slot) : row.folded(slot);
        const second = test.cased ? row.text(other) : row.folded(other);
        return value !== undefined && second !== undefined && holds(value, second);
      };
    }
    case 'list':
      return anyOf(
        context.list(test.list).flatMap((entry) => {
          const read = test.read(entry);
          return read === undefined ? [] : [ofField(field, read, context)];
        }),
      );
  }
}

export const COMPARE = {
  lt: (a: number, b: number) => a < b,
  lte: (a: number, b: number) => a <= b,
  gt: (a: number, b: number) => a > b,
  gte: (a: number, b: number) => a >= b,
  eq: (a: number, b: number) => a === b,
  neq: (a: number, b: number) => a !== b,
};

const PLACED: Readonly<Record<Place, (value: string, text: string) => boolean>> = {
  is: (value, text) => value === text,
  contains: (value, text) => value.includes(text),
  begins: (value, text) => value.startsWith(text),
  ends: (value, text) => value.endsWith(text),
};

/** @returns a match of text that is already folded, unless the test is case-sensitive */
function textHolds(test: TextTest): (value: string) => boolean {
  if (test.is === 'text') {
    const text = test.cased ? test.text : fold(test.text);
    const placed = PLACED[test.place];
    return (value) => placed(value, text);
  }
  const parts = test.parts.map((part) => (typeof part === 'string' && !test.cased ? fold(part) : part));
  return (value) => fits(parts, value);
}

/** Greedy from the left, which is correct for wildcards. Time is proportional to text length times parts. */
function fits(parts: Wildcards, value: string): boolean {
  let part = 0;
  let at = 0;
  let retryPart = -1;
  let retryAt = 0;
  while (true) {
    const now = parts[part];
    if (now === undefined && at === value.length) return true;
    if (now === null) {
      retryPart = part + 1;
      if (retryPart === parts.length) return true;
      retryAt = at;
      part += 1;
      continue;
    }
    if (now === 1 && at < value.length) {
      part += 1;
      at += 1;
      continue;
    }
    if (typeof now === 'string' && value.startsWith(now, at)) {
      part += 1;
      at += now.length;
      continue;
    }
    if (retryPart === -1 || retryAt >= value.length) return false;
    retryAt += 1;
    const sought = parts[retryPart];
    if (typeof sought === 'string') {
      retryAt = value.indexOf(sought, retryAt);
      if (retryAt === -1) return false;
    }
    part = retryPart;
    at = retryAt;
  }
}

export interface NeededText {
  readonly field: string;
  readonly text: string;
}

/** Folded strings of which the row contains at least one whenever the expression matches; `undefined` if unknown. */
export function neededBy(expression: Expression, list: List): readonly NeededText[] | undefined {
  switch (expression.is) {
    case 'and':
      return expression.of.map((of) => neededBy(of, list)).reduce(moreSelective, undefined);
    case 'or': {
      const of = expression.of.map((each) => neededBy(each, list));
      return of.every((each) => each !== undefined) ? of.flat() : undefined;
    }
    case 'not':
    case 'keyword':
      return undefined;
    case 'field':
      return textsNeededBy(expression.test, list)?.map((text) => ({ field: expression.field, text }));
  }
}

function moreSelective(
  a: readonly NeededText[] | undefined,
  b: readonly NeededText[] | undefined,
): readonly NeededText[] | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  const texts = (of: readonly NeededText[]) => of.map(({ text }) => text);
  const [one, other] = [texts(a), texts(b)];
  return better(one, other) === one ? a : b;
}

/** The same for a single test. */
export function textsNeededBy(test: Test, list: List): readonly string[] | undefined {
  const literals = (texts: readonly string[]) =>
    texts.length > 0 && texts.every((text) => usable(text) !== '') ? texts : undefined;
  switch (test.is) {
    case 'text':
      return literals([fold(test.text)]);
    case 'wildcards': {
      const texts = test.parts.filter((part): part is string => typeof part === 'string').map(fold);
      return literals(texts.sort((a, b) => b.length - a.length).slice(0, 1));
    }
    case 'pattern':
      return test.pattern.literals === undefined ? undefined : literals(test.pattern.literals);
    case 'list': {
      const of = list(test.list).map((entry) => {
        const read = test.read(entry);
        return read === undefined ? [] : textsNeededBy(read, list);
      });
      return of.every((each) => each !== undefined) ? literals(of.flat()) : undefined;
    }
    default:
      return undefined;
  }
}
