import { isPlainObject } from '../../../core/base/values.ts';
import { readCondition } from './condition.ts';
import { both, either, Reading, readMember } from './modifiers.ts';
import { type Expression, Refusals, Refused, together, within } from './rule.ts';

/** Maximum nesting of maps and lists. */
const MAX_DEPTH = 8;

type Path = readonly (string | number)[];

interface DetectionOptions {
  /** Members that are not selections. */
  readonly besides?: readonly string[];
  /** If omitted, nothing is known about the file. */
  readonly reading?: Reading;
  /** Rejects members that are valid but cannot be accepted. */
  readonly check?: (member: Expression) => void;
}

/** Context for reading a selection. */
type Context = Required<Pick<DetectionOptions, 'reading' | 'check'>>;

/** Placeholder for a rejected selection, so that errors in the condition are also found. */
const UNKNOWN: Expression = { is: 'or', of: [] };

/**
 * Selections and their condition: the member `detection` of a rule, or `filter` of a filter.
 *
 * @throws {Refused} with all errors
 */
export function readDetection(
  value: unknown,
  { besides = [], reading = new Reading(), check = () => {} }: DetectionOptions = {},
): Expression {
  if (!isPlainObject(value)) throw new Refused('"detection" is missing or not a map');
  const selections = new Map<string, Expression>();
  const refusals = new Refusals();
  for (const [name, given] of Object.entries(value)) {
    if (name === 'condition' || besides.includes(name)) continue;
    refusals.attempt(() => {
      checkName(name);
      selections.set(name, UNKNOWN);
      selections.set(name, readSelection(given, [name], 0, { reading, check }));
    });
  }
  const whole = refusals.attempt(() => conditionOf(value, selections));
  refusals.end();
  return whole as Expression;
}

function checkName(name: string): void {
  if (name === 'timeframe') throw new Refused('"timeframe" belongs to Sigma 1; use a correlation instead', [name]);
  if (/[\s()|*]/.test(name) || ['and', 'or', 'not', 'of', 'them'].includes(name.toLowerCase()))
    throw new Refused(`"${name}" can't be the name of a selection`, [name]);
}

function conditionOf(
  { condition }: Readonly<Record<string, unknown>>,
  selections: ReadonlyMap<string, Expression>,
): Expression {
  const conditions = Array.isArray(condition) ? condition : [condition];
  const [first] = conditions;
  if (first === undefined || !conditions.every((each) => typeof each === 'string'))
    throw new Refused('"condition" is missing or not a string', ['condition']);
  if (conditions.length === 1) return readCondition(first, selections);
  // Several conditions are alternatives; a selection must be used in only one of them.
  return readCondition(conditions.map((each) => `( ${each} )`).join(' or '), selections);
}

function readSelection(value: unknown, path: Path, depth: number, context: Context): Expression {
  if (depth > MAX_DEPTH) throw new Refused(`more than ${MAX_DEPTH} nested lists`, path);
  if (Array.isArray(value)) {
    if (value.length === 0) throw new Refused('a selection is an empty list', path);
    return either(
      together(value.map((each, index) => () => readSelection(each, [...path, index], depth + 1, context))),
    );
  }
  if (isPlainObject(value)) {
    const members = Object.entries(value);
    if (members.length === 0) throw new Refused('a selection is an empty map', path);
    return both(
      together(
        members.map(
          ([key, given]) =>
            () =>
              within([...path, key], () => checked(readKey(key, given, context), context)),
        ),
      ),
    );
  }
  if (value === null || value === undefined) throw new Refused('a selection is empty', path);
  // A keyword can be anywhere in a text.
  return within(path, () => checked(readMember('', ['contains'], value, context.reading), context));
}

function checked(member: Expression, { check }: Context): Expression {
  check(member);
  return member;
}

function readKey(key: string, given: unknown, { reading }: Context): Expression {
  const [field = '', ...modifiers] = key.split('|');
  if (isPlainObject(given)) throw new Refused(`"${key}" is a map; a field has a value or a list of values`);
  if (field !== '') return readMember(field, modifiers, given, reading);
  if (modifiers.length === 0) throw new Refused('a member of a selection has no name');
  const isPlaced = modifiers.some((modifier) => ['contains', 'startswith', 'endswith'].includes(modifier));
  return readMember('', isPlaced ? modifiers : [...modifiers, 'contains'], given, reading);
}
