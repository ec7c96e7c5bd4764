import { isPlainObject } from '../../../core/base/values.ts';
import { type Correlation, Refused } from './rule.ts';

/** A correlation before its references are resolved. */
export interface ReadCorrelation {
  readonly type: Correlation['type'];
  /** Ids, names or titles, as written. */
  readonly rules: readonly string[];
  readonly groupBy: readonly string[];
  readonly aliases: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly timespanMs: number;
  readonly wanted: Correlation['wanted'];
  readonly field?: string;
  /** Whether the rules it refers to raise their own alerts as well. */
  readonly generate: boolean;
}

const TYPES = ['event_count', 'value_count', 'temporal', 'temporal_ordered'] as const;
const COMPARISONS = ['lt', 'lte', 'gt', 'gte', 'eq', 'neq'] as const;
const KEYS = ['type', 'rules', 'group-by', 'aliases', 'timespan', 'condition', 'generate'];
const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
/** A device does not store more; see engine/correlations.ts. */
const LONGEST_MS = 7 * 86_400_000;
/** For value_count: this many different values are stored, and one more; see engine/correlations.ts. */
const MAX_VALUES = 256;
const MAX_EVENTS = 1_000_000;
const MAX_RULES = 16;

/** @throws {Refused} */
export function readCorrelation(value: unknown): ReadCorrelation {
  if (!isPlainObject(value)) throw new Refused('"correlation" is not a map');
  for (const key of Object.keys(value)) {
    if (!KEYS.includes(key)) throw new Refused(`"${key}" is not known in "correlation"`, [key]);
  }
  const type = TYPES.find((each) => each === value.type);
  if (type === undefined) throw new Refused(`the type "${value.type}" is not known; ${TYPES.join(', ')} are`, ['type']);
  const rules = textsOf(value.rules, 'rules');
  if (rules.length === 0 || rules.length > MAX_RULES)
    throw new Refused(`"rules" must list 1 to ${MAX_RULES} rules`, ['rules']);
  const { generate = false } = value;
  if (typeof generate !== 'boolean') throw new Refused('"generate" must be true or false', ['generate']);
  const common = {
    type,
    rules,
    groupBy: value['group-by'] === undefined ? [] : textsOf(value['group-by'], 'group-by'),
    aliases: aliasesOf(value.aliases),
    timespanMs: timespanOf(value.timespan),
    generate,
  };
  // Without a condition, these require all their rules.
  const asksForAll = type.startsWith('temporal') && value.condition === undefined;
  return { ...common, ...(asksForAll ? { wanted: [] } : conditionOf(value.condition, type, rules.length)) };
}

/** Maximum number of different rules, events or values that a correlation may require. */
const mostOf = (type: Correlation['type'], rules: number): number =>
  type === 'event_count' ? MAX_EVENTS : type === 'value_count' ? MAX_VALUES : rules;

function conditionOf(value: unknown, type: Correlation['type'], rules: number) {
  if (!isPlainObject(value)) throw new Refused('"condition" is missing or not a comparison', ['condition']);
  const wanted: { compare: (typeof COMPARISONS)[number]; than: number }[] = [];
  for (const [key, than] of Object.entries(value)) {
    if (key === 'field') continue;
    const compare = COMPARISONS.find((each) => each === key);
    if (compare === undefined) throw new Refused(`"${key}" is not known in a condition`, ['condition', key]);
    const most = mostOf(type, rules);
    if (typeof than !== 'number' || !Number.isInteger(than) || than < 0 || than > most)
      throw new Refused(`"${key}" of ${type} takes a whole number up to ${most}`, ['condition', key]);
    wanted.push({ compare, than });
  }
  if (wanted.length === 0) throw new Refused('"condition" has no comparison', ['condition']);
  if (!wanted.some(({ compare }) => ['gt', 'gte', 'eq'].includes(compare)))
    throw new Refused('"condition" would be true without events; it needs gt, gte or eq', ['condition']);
  const { field } = value;
  if (type !== 'value_count') {
    if (field !== undefined) throw new Refused('"field" is only valid for value_count', ['condition', 'field']);
    return { wanted };
  }
  const [name, ...more] = Array.isArray(field) ? field : [field];
  if (more.length > 0) throw new Refused('"field" must be a single field', ['condition', 'field']);
  if (typeof name !== 'string') throw new Refused('value_count needs a "field"', ['condition']);
  return { wanted, field: name };
}

function timespanOf(value: unknown): number {
  const match = typeof value === 'string' ? /^(\d{1,9})([smhd])$/.exec(value) : null;
  const span = Number(match?.[1]) * (UNITS[match?.[2] ?? ''] ?? Number.NaN);
  if (!(span > 0 && span <= LONGEST_MS))
    throw new Refused('"timespan" must be a time such as 30s, 5m, 2h or 7d', ['timespan']);
  return span;
}

function aliasesOf(value: unknown): ReadCorrelation['aliases'] {
  if (value === undefined) return {};
  if (!isPlainObject(value)) throw new Refused('"aliases" is not a map', ['aliases']);
  const aliases: Record<string, Record<string, string>> = {};
  for (const [alias, of] of Object.entries(value)) {
    if (!isPlainObject(of) || !Object.values(of).every((field) => typeof field === 'string'))
      throw new Refused(`the alias "${alias}" is not a map of rules to fields`, ['aliases', alias]);
    aliases[alias] = of as Record<string, string>;
  }
  return aliases;
}

export function textsOf(value: unknown, name: string): readonly string[] {
  const texts = Array.isArray(value) ? value : [value];
  if (!texts.every((text) => typeof text === 'string' && text !== ''))
    throw new Refused(`"${name}" is not a string or a list of strings`, [name]);
  return texts as string[];
}
