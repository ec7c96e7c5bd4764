import { isPlainObject } from '../../../core/base/values.ts';
import { finishNow } from '../slices.ts';
import type { LogSource, Rule } from '../subject.ts';
import { type ReadCorrelation, readCorrelation, textsOf } from './correlation.ts';
import { readDetection } from './detection.ts';
import { readFacts } from './facts.ts';
import { checkFields, checkRecords, hasField, type ReadSource, readLogSource, visit } from './log-source.ts';
import { both, Reading } from './modifiers.ts';
import {
  type Correlation,
  type DetectionRule,
  type Document,
  type Expression,
  type Fault,
  type ParsedRule,
  Refusals,
  Refused,
  within,
} from './rule.ts';

export interface RuleSet {
  readonly rules: readonly ParsedRule[];
  readonly faults: readonly Fault[];
}

type Facts = ReturnType<typeof readFacts>;
interface Read {
  readonly document: Document;
  readonly facts: Facts;
}
interface Detection extends Read {
  readonly is: 'detection';
  readonly from: ReadSource;
  readonly expression: () => Expression;
}
interface Correlated extends Read {
  readonly is: 'correlation';
  readonly correlation: ReadCorrelation;
}
interface Filter {
  readonly is: 'filter';
  readonly document: Document;
  readonly from: ReadSource;
  /** Ids, names or titles; `undefined` for all rules of its log source. */
  readonly rules: readonly string[] | undefined;
  readonly expression: Expression;
}
type Any = Detection | Correlated | Filter;

/** Like `readRuleSetInSlices`, without interruption. */
export const readRuleSet = (documents: readonly Document[]): RuleSet => finishNow(readRuleSetInSlices(documents));

/**
 * The rules of all documents, with filters applied and references resolved. A file with an error is rejected completely, and
 * so are correlations and filters that refer to its rules; all other files are loaded.
 * Yields between slices of the work.
 */
export function* readRuleSetInSlices(documents: readonly Document[]): Generator<void, RuleSet> {
  const faults: Fault[] = [];
  let files = new Map<string, Any[]>();
  const readings = new Map<string, Reading>();
  for (const document of documents) {
    const all = files.get(document.file) ?? [];
    files.set(document.file, all);
    const reading = readings.get(document.file) ?? new Reading(document.literals);
    readings.set(document.file, reading);
    attempt(document, faults, () => all.push(readDocument(document, reading)));
    if (document.literals === undefined) yield; // compiled documents take microseconds
  }
  refuseDoubles([...files.values()].flat(), faults);
  // Without the rejected files, further references may fail.
  for (let known = -1; known !== faults.length; ) {
    known = faults.length;
    const refused = new Set(faults.map(({ file }) => file));
    files = new Map([...files].filter(([file]) => !refused.has(file)));
    const all = [...files.values()].flat();
    const names = new Names(all);
    yield;
    for (const each of all) {
      attempt(each.document, faults, () => {
        if (each.is === 'correlation') resolve(each, names);
        if (each.is === 'filter') filtered(each, names);
      });
    }
  }
  const all = [...files.values()].flat();
  return { rules: finish(all), faults };
}

function attempt(document: Document, faults: Fault[], work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    for (const { path, message } of error.all) {
      const line = document.lineOf(path);
      faults.push({ file: document.file, reason: message, ...(line === undefined ? {} : { line }) });
    }
  }
}

function readDocument(document: Document, reading: Reading): Any {
  const { value } = document;
  if (!isPlainObject(value)) throw new Refused('the document is not a map');
  if (value.action !== undefined) throw new Refused('"action" belongs to Sigma 1, which is not supported', ['action']);
  const kinds = ['detection', 'correlation', 'filter'].filter((kind) => value[kind] !== undefined);
  if (kinds.length !== 1) throw new Refused('the document needs one of "detection", "correlation" and "filter"');
  if (value.filter !== undefined) return readFilter(document, value, reading);
  const refusals = new Refusals();
  const facts = refusals.attempt(() => readFacts(document, value)) as Facts;
  if (value.correlation !== undefined) {
    const correlation = refusals.attempt(() => within(['correlation'], () => readCorrelation(value.correlation)));
    refusals.end();
    return { is: 'correlation', document, facts, correlation: correlation as ReadCorrelation };
  }
  const from = refusals.attempt(() => within(['logsource'], () => readLogSource(value.logsource))) as ReadSource;
  refusals.attempt(() => {
    if (facts !== undefined && from !== undefined) checkKey(facts, [from]);
  });
  if (document.literals === 'later') {
    refusals.end();
    return { is: 'detection', document, facts, from, expression: () => readDetection(value.detection, { reading }) };
  }
  const expression = refusals.attempt(() =>
    within(['detection'], () => checkedDetection(value.detection, document, from, { reading })),
  ) as Expression;
  refusals.end();
  return { is: 'detection', document, facts, from, expression: () => expression };
}

/** A key field that no event has would merge all hits of the rule into one alert. @throws {Refused} */
function checkKey({ key = [] }: Facts, from: readonly ReadSource[]): void {
  const unknown = key.find((field) => !from.some((each) => hasField(each, field)));
  if (unknown !== undefined)
    throw new Refused(`"key": events of ${sourcesOf({ from }).join(', ')} have no field "${unknown}"`, ['vakt', 'key']);
}

/** @param from `undefined` if the log source is rejected: its fields are then unknown */
function checkedDetection(
  value: unknown,
  document: Document,
  from: ReadSource | undefined,
  options: { readonly reading: Reading; readonly besides?: readonly string[] },
): Expression {
  let bytes = 0;
  const check = (member: Expression) => {
    if (from !== undefined) checkFields(member, from);
    bytes = checkCosts(member, document, bytes);
  };
  const all = readDetection(value, { ...options, check });
  if (from !== undefined) checkRecords(all, from);
  return all;
}

function readFilter(document: Document, value: Readonly<Record<string, unknown>>, reading: Reading): Filter {
  const refusals = new Refusals();
  const from = refusals.attempt(() => within(['logsource'], () => readLogSource(value.logsource))) as ReadSource;
  const filter = refusals.attempt(() => {
    if (!isPlainObject(value.filter)) throw new Refused('"filter" is not a map', ['filter']);
    return value.filter;
  });
  if (filter === undefined) refusals.end();
  const rules = refusals.attempt(() =>
    filter?.rules === 'any' ? undefined : within(['filter'], () => textsOf(filter?.rules, 'rules')),
  );
  const expression = refusals.attempt(() =>
    within(['filter'], () => checkedDetection(filter, document, from, { besides: ['rules'], reading })),
  ) as Expression;
  refusals.end();
  return { is: 'filter', document, from, rules, expression };
}

/** Keeps the worst text of 8 KB below about 5 ms; see test/agent/detections/engine/hostile-lines.test.ts. */
const MAX_COST = 1_000;

/** Limit per rule. All rules of the operator together may take eight times as much; above that they slow each other down. */
const MAX_AUTOMATA_BYTES = 2 ** 20;

/**
 * Too slow for each start of the agent: documents that were compiled before were checked then.
 *
 * @param before bytes of the rule's previous expressions
 * @returns the bytes including these expressions
 * @throws {Refused}
 */
function checkCosts(expression: Expression, { literals }: Document, before: number): number {
  let sum = before;
  if (literals !== undefined) return sum;
  visit(expression, (field, test) => {
    if (test?.is !== 'pattern') return;
    const { operations, bytes } = test.pattern.cost();
    if (operations > MAX_COST)
      throw new Refused('the expression has too many nested repetitions, or too many alternatives', [field]);
    sum += bytes;
    if (sum > MAX_AUTOMATA_BYTES)
      throw new Refused(
        'the expressions of the rule would take more than 1 MB of memory: divide them among several rules, or shorten them',
        [field],
      );
  });
  return sum;
}

function refuseDoubles(all: readonly Any[], faults: Fault[]): void {
  // Checks ids and names together, because correlations and filters refer to rules by either.
  const seen = new Map<string, Any>();
  for (const each of all) {
    if (each.is === 'filter') continue;
    for (const [kind, name] of Object.entries({ id: each.facts.id, name: each.facts.name })) {
      if (name === undefined) continue;
      const other = seen.get(name);
      if (other === undefined) seen.set(name, each);
      else if (other !== each)
        attempt(each.document, faults, () => {
          throw new Refused(`the ${kind} "${name}" is already used by another rule, in ${other.document.file}`, [kind]);
        });
    }
  }
}

/** Maximum nesting of correlations. */
const MAX_DEPTH = 8;
/** Maximum number of paths from a correlation to detections: an event takes each of them. */
const MAX_PATHS = 256;
const RULES = ['correlation', 'rules'];

/** The detections that a rule depends on, directly or through other correlations. */
interface Reach {
  readonly from: readonly ReadSource[];
  /** Nesting depth of correlations, including this one. */
  readonly height: number;
  readonly paths: number;
}

/** Rules, keyed by the names that documents use. */
class Names {
  readonly #rules = new Map<string, Detection | Correlated>();
  readonly #reaches = new Map<Correlated, Reach | 'asked'>();
  readonly detections: readonly Detection[];

  constructor(all: readonly Any[]) {
    const rules = all.filter((each) => each.is !== 'filter');
    // An id takes precedence over a name, and a name over a title.
    for (const { key } of [{ key: 'title' }, { key: 'name' }, { key: 'id' }] as const) {
      for (const rule of rules) {
        const name = rule.facts[key];
        if (name !== undefined) this.#rules.set(name, rule);
      }
    }
    this.detections = rules.filter((each) => each.is === 'detection');
  }

  find(name: string, path: readonly string[]): Detection | Correlated {
    const found = this.#rules.get(name);
    if (found === undefined) throw new Refused(`there is no rule "${name}"`, path);
    return found;
  }

  /** Computed once per correlation. @throws {Refused} if it refers to itself, or to too many rules */
  reach(rule: Detection | Correlated, depth = 0): Reach {
    if (rule.is === 'detection') return { from: [rule.from], height: 0, paths: 1 };
    const known = this.#reaches.get(rule);
    if (known === 'asked') throw new Refused('the correlation refers to itself', RULES);
    if (depth + (known?.height ?? 1) > MAX_DEPTH + 1)
      throw new Refused(`more than ${MAX_DEPTH} nested correlations`, RULES);
    if (known !== undefined) return known;
    this.#reaches.set(rule, 'asked');
    try {
      const of = rule.correlation.rules.map((name) => this.reach(this.find(name, RULES), depth + 1));
      const paths = of.reduce((sum, each) => sum + each.paths, 0);
      if (paths > MAX_PATHS)
        throw new Refused(`leads to more than ${MAX_PATHS} rules through other correlations`, RULES);
      const from = [...new Map(of.flatMap((each) => each.from).map((each) => [keyOf(each), each])).values()];
      const reach = { from, height: 1 + Math.max(...of.map(({ height }) => height)), paths };
      this.#reaches.set(rule, reach);
      return reach;
    } catch (error) {
      this.#reaches.delete(rule);
      throw error;
    }
  }
}

const keyOf = ({ source, audit }: ReadSource): string => `${source} ${audit}`;

/** The ids of the rules, in order. @throws {Refused} */
function resolve(each: Correlated, names: Names): Correlation {
  const { facts, correlation } = each;
  const { rules, groupBy, aliases, limit, ...rest } = { limit: facts.limit, ...correlation };
  const targets = rules.map((name) => names.find(name, RULES));
  const repeated = targets.findIndex((target, index) => targets.indexOf(target) < index);
  if (repeated !== -1) throw new Refused(`the rule "${rules[repeated]}" is listed twice`, [...RULES, repeated]);
  checkKey(facts, names.reach(each).from);
  const byName = new Map(rules.map((name, index) => [name, targets[index]?.facts.id ?? name]));
  const groups = groupBy.map((name) => {
    const alias = Object.hasOwn(aliases, name) ? aliases[name] : undefined;
    if (alias === undefined) return { name, of: {} as Readonly<Record<string, string>> };
    const of = Object.entries(alias).map(([rule, field]) => {
      const id = byName.get(rule) ?? names.find(rule, ['correlation', 'aliases', name]).facts.id;
      return [id, field] as const;
    });
    return { name, of: Object.fromEntries(of) };
  });
  for (const name of Object.keys(aliases)) {
    if (!groupBy.includes(name))
      throw new Refused(`the alias "${name}" is not in "group-by"`, ['correlation', 'aliases']);
  }
  const { generate: _, wanted, field, timespanMs, type } = rest;
  const isSequence = type === 'temporal' || type === 'temporal_ordered';
  const check = (member: string, path: readonly string[], fieldOf: (id: string) => string) => {
    const without = targets.filter(
      (target) => !names.reach(target).from.some((from) => hasField(from, fieldOf(target.facts.id))),
    );
    const [first] = without;
    // A rule without the field is in its own group: it can be counted, but cannot be part of a sequence.
    if (first === undefined || (!isSequence && without.length < targets.length)) return;
    const sources = sourcesOf(names.reach(first)).join(', ');
    throw new Refused(`${member}: events of ${sources} have no field "${fieldOf(first.facts.id)}"`, [
      'correlation',
      ...path,
    ]);
  };
  for (const { name, of } of groups)
    check('"group-by"', ['group-by'], (id) => (Object.hasOwn(of, id) ? (of[id] ?? name) : name));
  if (field !== undefined) check('"field"', ['condition', 'field'], () => field);
  return {
    type,
    rules: targets.map((target) => target.facts.id),
    groupBy: groups,
    timespanMs,
    wanted,
    ...(field === undefined ? {} : { field }),
    ...(limit === undefined ? {} : { limit }),
  };
}

const isSame = (a: ReadSource, b: ReadSource) => keyOf(a) === keyOf(b);

/** The detections that a filter applies to. @throws {Refused} */
function filtered(filter: Filter, names: Names): readonly Detection[] {
  if (filter.rules === undefined) return names.detections.filter(({ from }) => isSame(from, filter.from));
  return filter.rules.map((name) => {
    const rule = names.find(name, ['filter', 'rules']);
    if (rule.is === 'correlation') throw new Refused(`"${name}" is a correlation`, ['filter', 'rules']);
    if (!isSame(rule.from, filter.from))
      throw new Refused(`the rule "${name}" has a different "logsource"`, ['logsource']);
    return rule;
  });
}

function finish(all: readonly Any[]): ParsedRule[] {
  const names = new Names(all);
  const filters = new Map<Detection, Expression[]>();
  const inner = new Set<string>();
  for (const each of all) {
    if (each.is === 'filter')
      for (const rule of filtered(each, names)) filters.set(rule, [...(filters.get(rule) ?? []), each.expression]);
    if (each.is === 'correlation' && !each.correlation.generate)
      for (const id of resolve(each, names).rules) inner.add(id);
  }
  return all.flatMap((each): ParsedRule[] => {
    if (each.is === 'filter') return [];
    const { limit: _, ...known } = each.facts;
    const facts: Rule = { ...known, sources: sourcesOf(names.reach(each)), alerts: !inner.has(known.id) };
    if (each.is === 'correlation') return [{ is: 'correlation', facts, correlation: resolve(each, names) }];
    return [detectionRule(each, facts, filters.get(each) ?? [])];
  });
}

/** A filter changes what selects a rule. */
function detectionRule(
  { document: { made }, expression }: Detection,
  facts: Rule,
  filters: readonly Expression[],
): DetectionRule {
  let read: Expression | undefined;
  return {
    is: 'detection',
    facts,
    get expression() {
      read ??= both([expression(), ...filters]);
      return read;
    },
    ...(made === undefined || filters.length > 0 ? {} : { made }),
  };
}

const sourcesOf = ({ from }: Pick<Reach, 'from'>): readonly LogSource[] => [
  ...new Set(from.map(({ source }) => source)),
];
