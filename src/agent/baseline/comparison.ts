/* How an actual value is compared with the expected one. */

import * as v from 'valibot';
import { compilePattern } from '../pattern/pattern.ts';
import { bits, integer, mode, pattern, text, texts } from './fields.ts';

const range = v.pipe(
  v.tuple([integer, integer]),
  v.check(([least, max]) => least <= max, 'has a minimum above its maximum'),
);
const octal = v.pipe(v.string(), v.regex(/^[0-7]{3,4}$/, 'is not an octal number'));

/** Operators, each with the type of its value. */
export const comparison = v.variant('op', [
  v.strictObject({ op: v.picklist(['eq', 'ne']), value: v.union([text, integer, v.boolean()]) }),
  v.strictObject({ op: v.literal('in'), value: texts }),
  v.strictObject({ op: v.picklist(['ge', 'le']), value: integer }),
  /** At least the value, or 0, which means unlimited. */
  v.strictObject({ op: v.literal('geOrZero'), value: integer }),
  v.strictObject({ op: v.literal('range'), value: range }),
  /** It is set, to any value. */
  v.strictObject({ op: v.literal('set') }),
  /** It is set, as a word without a value. */
  v.strictObject({ op: v.literal('flag') }),
  v.strictObject({ op: v.literal('umaskAtLeast'), value: octal }),
  v.strictObject({ op: v.literal('modeMax'), value: mode }),
  /** A comma-separated list that has none of these items. */
  v.strictObject({ op: v.literal('noneOf'), value: texts }),
  /** sshd's MaxStartups, `start:rate:full`: each number is at most the given one. */
  v.strictObject({ op: v.literal('startups'), value: v.tuple([integer, integer, integer]) }),
  /** A list that has no item matching the pattern. */
  v.strictObject({ op: v.literal('noneMatch'), value: pattern }),
  v.strictObject({ op: v.literal('empty') }),
]);
export type Comparison = v.InferOutput<typeof comparison>;

/** The actual value; a list if the file can have one. */
export type Value = string | number | boolean | readonly string[] | undefined;

export function inWords(of: Comparison): string {
  switch (of.op) {
    case 'eq':
      return String(of.value);
    case 'ne':
      return `not ${of.value}`;
    case 'in':
      return of.value.join(' or ');
    case 'ge':
      return `at least ${of.value}`;
    case 'le':
      return `at most ${of.value}`;
    case 'geOrZero':
      return `at least ${of.value}, or 0`;
    case 'range':
      return `${of.value[0]} to ${of.value[1]}`;
    case 'set':
    case 'flag':
      return 'set';
    case 'umaskAtLeast':
      return `${of.value} or stricter`;
    case 'modeMax':
      return `at most ${of.value}`;
    case 'noneOf':
      return `none of ${of.value.join(', ')}`;
    case 'startups':
      return `at most ${of.value.join(':')}`;
    case 'noneMatch':
      return `none matches ${of.value}`;
    case 'empty':
      return 'nothing';
  }
}

/** What to do with a setting so that it passes, for the remedy: `set UMASK to 027`. */
export function instruction(of: Comparison, key: string): string {
  switch (of.op) {
    case 'in':
      return `set ${key} to ${of.value[0]}`;
    case 'range':
      return `set ${key} to ${of.value[1]}`;
    case 'startups':
      return `set ${key} to ${of.value.join(':')}`;
    case 'ne':
      return `set ${key} to a value other than ${of.value}`;
    case 'set':
      return `give ${key} a value`;
    case 'flag':
      return `add ${key}`;
    case 'empty':
      return `remove ${key}`;
    case 'noneOf':
      return `set ${key} to a list without ${of.value.join(', ')}`;
    case 'noneMatch':
      return `set ${key} to a list without items that match ${of.value}`;
    default:
      return `set ${key} to ${of.value}`;
  }
}

/** @returns `undefined` when the value cannot be compared with this operator */
export function compare(of: Comparison, value: Value): boolean | undefined {
  switch (of.op) {
    case 'set':
      return isSet(value);
    case 'flag':
      return value !== undefined && value !== false;
    case 'empty':
      return !isSet(value);
    case 'eq':
      return same(value, of.value);
    case 'ne':
      return !same(value, of.value);
    case 'in':
      return of.value.some((each) => same(value, each));
    case 'noneOf':
      return !itemsOf(value).some((item) => of.value.some((each) => same(item, each)));
    case 'noneMatch': {
      const wanted = compilePattern(of.value);
      return 'problem' in wanted ? undefined : !itemsOf(value).some((item) => wanted.matches(item));
    }
    case 'umaskAtLeast':
    case 'modeMax': {
      const found = typeof value === 'string' && /^0?[0-7]{1,4}$/.test(value) ? bits(value) : undefined;
      if (found === undefined) return undefined;
      return of.op === 'modeMax' ? (found & ~bits(of.value)) === 0 : (bits(of.value) & ~found) === 0;
    }
    case 'startups':
      return startups(value, of.value);
    default: {
      const found = numberOf(value);
      return found === undefined ? undefined : within(of, found);
    }
  }
}

function within(of: Extract<Comparison, { op: 'ge' | 'le' | 'geOrZero' | 'range' }>, found: number): boolean {
  if (of.op === 'range') return found >= of.value[0] && found <= of.value[1];
  if (of.op === 'le') return found <= of.value;
  return found >= of.value || (of.op === 'geOrZero' && found === 0);
}

const isSet = (value: Value) => value !== undefined && value !== '' && !(Array.isArray(value) && value.length === 0);

/** Ignores case, as most programs do. */
const same = (found: Value, wanted: string | number | boolean) =>
  found !== undefined && String(found).toLowerCase() === String(wanted).toLowerCase();

const itemsOf = (value: Value): readonly string[] =>
  value === undefined ? [] : typeof value === 'object' ? value : String(value).split(/[\s,]+/);

const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400, w: 604_800 };

/** A decimal number, or a duration in the format of sshd_config(5): `1h30m`. */
function numberOf(value: Value): number | undefined {
  const written = String(value).trim().toLowerCase();
  if (/^-?\d{1,15}$/.test(written)) return Number(written);
  if (!/^\d[\dsmhdw]{0,30}$/.test(written) || /[a-z]{2}/.test(written)) return undefined;
  return [...written.matchAll(/(\d+)([smhdw]?)/g)].reduce(
    (sum, [, count, unit]) => sum + Number(count) * (SECONDS[unit ?? ''] ?? 1),
    0,
  );
}

function startups(value: Value, max: readonly number[]): boolean | undefined {
  const match = /^(\d{1,9})(?::(\d{1,9}):(\d{1,9}))?$/.exec(String(value));
  if (match === null) return undefined;
  const found = match.slice(1).filter((part) => part !== undefined);
  // A single number is the `full` limit, above which all connections are refused.
  if (found.length === 1) return Number(found[0]) <= (max[2] ?? 0);
  return found.every((part, index) => Number(part) <= (max[index] ?? 0));
}
