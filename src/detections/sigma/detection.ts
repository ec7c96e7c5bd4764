import { readCondition } from './condition.ts';
import { both, either, Reading, readMember } from './modifiers.ts';
import { type Expression, Refused } from './rule.ts';

/** Maps and lists in one another. */
const DEEPEST = 8;

type Path = readonly (string | number)[];

interface DetectionOptions {
  /** Members that are no selections. */
  readonly besides?: readonly string[];
  /** Absent: nothing is known of the file. */
  readonly reading?: Reading;
}

/**
 * Selections and their condition: the member `detection` of a rule, or `filter` of a filter.
 *
 * @throws {Refused}
 */
export function readDetection(
  value: unknown,
  { besides = [], reading = new Reading() }: DetectionOptions = {},
): Expression {
  if (!isMap(value)) throw new Refused('is missing, or no map');
  const selections = new Map<string, Expression>();
  for (const [name, given] of Object.entries(value)) {
    if (name === 'condition' || besides.includes(name)) continue;
    if (name === 'timeframe')
      throw new Refused('"timeframe" is one of Sigma 1, which correlations have replaced', [name]);
    if (/[\s()|*]/.test(name) || ['and', 'or', 'not', 'of', 'them'].includes(name.toLowerCase()))
      throw new Refused(`"${name}" can't be the name of a selection`, [name]);
    selections.set(name, readSelection(given, [name], 0, reading));
  }
  const { condition } = value;
  const conditions = Array.isArray(condition) ? condition : [condition];
  const [first] = conditions;
  if (first === undefined || !conditions.every((each) => typeof each === 'string'))
    throw new Refused('"condition" is missing, or no text', ['condition']);
  if (conditions.length === 1) return readCondition(first, selections);
  // Several conditions: any of them; a selection must be used in one only.
  return readCondition(conditions.map((each) => `( ${each} )`).join(' or '), selections);
}

function readSelection(value: unknown, path: Path, depth: number, reading: Reading): Expression {
  if (depth > DEEPEST) throw new Refused(`more than ${DEEPEST} lists in one another`, path);
  if (Array.isArray(value)) {
    if (value.length === 0) throw new Refused('a selection is an empty list', path);
    return either(value.map((each, index) => readSelection(each, [...path, index], depth + 1, reading)));
  }
  if (isMap(value)) {
    const members = Object.entries(value);
    if (members.length === 0) throw new Refused('a selection is an empty map', path);
    return both(members.map(([key, given]) => at([...path, key], () => readKey(key, given, reading))));
  }
  if (value === null || value === undefined) throw new Refused('a selection is empty', path);
  // A keyword can be anywhere in a text.
  return at(path, () => readMember('', ['contains'], value, reading));
}

function readKey(key: string, given: unknown, reading: Reading): Expression {
  const [field = '', ...modifiers] = key.split('|');
  if (isMap(given)) throw new Refused(`"${key}" is a map; a field has a value or a list of values`);
  if (field !== '') return readMember(field, modifiers, given, reading);
  if (modifiers.length === 0) throw new Refused('a member of a selection has no name');
  const isPlaced = modifiers.some((modifier) => ['contains', 'startswith', 'endswith'].includes(modifier));
  return readMember('', isPlaced ? modifiers : [...modifiers, 'contains'], given, reading);
}

function at<T>(path: Path, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof Refused) throw new Refused(error.message, [...path, ...error.path]);
    throw error;
  }
}

export const isMap = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
