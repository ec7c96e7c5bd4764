import { formatDuration, milliseconds } from '../../../core/base/duration.ts';
import type { OffReason } from '../../detections/detector.ts';
import { fragmentsIn } from '../../detections/sigma/fragments.ts';
import type { Correlation, Expression, ParsedRule, Place, Test } from '../../detections/sigma/rule.ts';

/** Why loaded rules are off, in words. */
export const OFF_REASONS: Readonly<Record<OffReason, string>> = {
  requires: 'their list is not set',
  noEvent: 'no collector reports such events',
  time: 'they took too much time',
};

/** Characters of one expression or text that are shown. */
const LONGEST = 300;
const COMMAND = '%command%';

const PLACES: Readonly<Record<Place, string>> = {
  is: 'is',
  contains: 'contains',
  begins: 'begins with',
  ends: 'ends with',
};
const COMPARED = {
  lt: 'less than',
  lte: 'at most',
  gt: 'more than',
  gte: 'at least',
  eq: 'exactly',
  neq: 'a number other than',
} as const;

/** A selection of a rule. */
export interface NamedSelection {
  readonly name: string;
  readonly expression: Expression;
}

/** The condition of a rule, by the names of its selections: `(ctl or kill) and not hup`. */
export function conditionWords(expression: Expression, isInner = false): string {
  if (expression.selection !== undefined) return expression.selection;
  switch (expression.is) {
    case 'and':
    case 'or': {
      const words = expression.of.map((each) => conditionWords(each, true)).join(` ${expression.is} `);
      return isInner && expression.of.length > 1 ? `(${words})` : words;
    }
    case 'not':
      return `not ${conditionWords(expression.of, true)}`;
    default:
      return selectionWords(expression).join(' ');
  }
}

/** The selections of a rule, each once, in the order of its condition. */
export function selectionsIn(expression: Expression): readonly NamedSelection[] {
  const found = new Map<string, Expression>();
  const visit = (each: Expression): void => {
    if (each.selection !== undefined) found.set(each.selection, found.get(each.selection) ?? each);
    else if (each.is === 'not') visit(each.of);
    else if (each.is === 'and' || each.is === 'or') each.of.forEach(visit);
  };
  visit(expression);
  return [...found].map(([name, selection]) => ({ name, expression: selection }));
}

/** What a selection looks for, one line for each field and value, indented by how they are combined. */
export function selectionWords(expression: Expression): readonly string[] {
  switch (expression.is) {
    case 'and':
    case 'or': {
      const [only, ...others] = expression.of;
      if (only !== undefined && others.length === 0) return selectionWords(only);
      const heading = expression.is === 'and' ? 'all of:' : 'any of:';
      return [heading, ...expression.of.flatMap(selectionWords).map((line) => `  ${line}`)];
    }
    case 'not':
      return ['not:', ...selectionWords(expression.of).map((line) => `  ${line}`)];
    case 'keyword':
      return [`any field ${testWords(expression.test)}`];
    case 'field':
      return [`${expression.field} ${testWords(expression.test)}`];
  }
}

function testWords(test: Test): string {
  switch (test.is) {
    case 'text':
      return `${PLACES[test.place]} ${shown(test.text)}`;
    case 'wildcards':
      return `is like ${shown(test.parts.map((part) => (part === null ? '*' : part === 1 ? '?' : part)).join(''))}`;
    case 'pattern': {
      const expression = fragmentsIn(test.source);
      const isCommand = expression.startsWith(COMMAND);
      return `${isCommand ? 'has a command that matches' : 'matches'} ${shown(isCommand ? expression.slice(COMMAND.length) : expression)}`;
    }
    case 'network':
      return `is an address in ${test.network.text}`;
    case 'exists':
      return test.exists ? 'is known' : 'is unknown';
    case 'number':
      return `is ${COMPARED[test.compare]} ${test.than}`;
    case 'field':
      return `${PLACES[test.place]} the value of ${test.other}`;
    case 'list':
      return `is in the list ${test.list}`;
  }
}

/** What a correlation counts. */
export function correlationWords(correlation: Correlation, rules: readonly ParsedRule[]): string {
  const { type, groupBy, timespanMs, wanted, field, limit } = correlation;
  const titles = correlation.rules.map(
    (id) => `"${rules.find(({ facts }) => [facts.id, facts.name].includes(id))?.facts.title ?? id}"`,
  );
  const how = wanted.map(({ compare, than }) => `${COMPARED[compare]} ${than}`).join(' and ') || 'all';
  const condition = {
    event_count: `${how} matches of ${titles.join(' or ')}`,
    value_count: `${how} different values of ${field} in matches of ${titles.join(' or ')}`,
    temporal: `${how} of the rules ${titles.join(', ')}`,
    temporal_ordered: `${how} of the rules ${titles.join(', ')}, in this order`,
  }[type];
  const same = groupBy.length === 0 ? '' : `, with the same ${groupBy.map(({ name }) => name).join(' and ')}`;
  const setting = limit === undefined ? '' : `; ${limit} replaces the number`;
  return `${condition}, within ${formatDuration(milliseconds(timespanMs))}${same}${setting}`;
}

const shown = (text: string): string => (text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text);
