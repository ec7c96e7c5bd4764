import { fileURLToPath } from 'node:url';
import type { AttackEvent } from '../src/agent/detections/alerts/exception-effect.ts';
import { alertTypeOf, isBelow } from '../src/agent/detections/alerts/policy.ts';
import { builtInRules, type CompiledRules } from '../src/agent/detections/built-in.ts';
import { select } from '../src/agent/detections/engine/select.ts';
import { toJson } from '../src/agent/detections/engine/selection.ts';
import { visit } from '../src/agent/detections/sigma/log-source.ts';
import type { DetectionRule, Expression, ParsedRule } from '../src/agent/detections/sigma/rule.ts';
import { readRuleSet } from '../src/agent/detections/sigma/rule-set.ts';
import { type Figures, figuresOf, type Recall, recall, recallTable } from '../test/agent/detections/recall.ts';
import { idOf, ruleCases, type UnseenCase } from '../test/agent/detections/unseen-cases.ts';
import { jsonLines, readRuleFiles, throwIfFaulty } from './compiled-rules.ts';
import { alertsDocument, attackLayer, recallText, type Trials } from './detection-docs.ts';
import { type DocumentGenerator, pageWithPart } from './documents.ts';

const FOLDER = fileURLToPath(new URL('../../config/detections', import.meta.url));

/**
 * The shipped detection rules as JSON, since a device parses no YAML for them, and what is said about them. The JSON comes
 * first: the others are made of it.
 */
export const detectionDocuments: readonly DocumentGenerator[] = [
  { path: 'config/detections/rules.json', generate: () => compileRules(FOLDER) },
  { path: 'config/detections/attacks.json', generate: () => sampleAttacks(builtInRules().rules, ruleCases()) },
  { path: 'config/detections/README.md', generate: () => alertsDocument(builtInRules().rules, trials()) },
  pageWithPart('README.md', 'recall', () => recallText(trials())),
  { path: 'config/detections/attack-layer.json', generate: () => attackLayer(builtInRules().rules) },
];

/** Measured once, in ten seconds, for two documents; see also `aboveTheFloor`. */
let figures: Figures | undefined;

function trials(): Trials {
  const cases: Record<string, { attacks: number; lookAlikes: number }> = {};
  for (const { alert, expect } of ruleCases()) {
    cases[alert] ??= { attacks: 0, lookAlikes: 0 };
    cases[alert][expect ? 'attacks' : 'lookAlikes'] += 1;
  }
  figures ??= figuresOf(aboveTheFloor(recall()));
  return { ...figures, cases };
}

/** The smallest share of the attacks that must raise the right alert, and the number of recorded starts that may raise one. */
const [FEWEST_FOUND, BENIGN_PER_HIT] = [0.85, 2_000];

/** @throws when the rules find too little, or say too much of daily work: the cases must not be used to tune them */
function aboveTheFloor(result: Recall): Recall {
  const { alerts, missed, wrong, benign, benignHits } = result;
  const attacks = alerts.reduce((sum, one) => sum + one.attacks, 0);
  const faults = [
    ...(missed.length > attacks * (1 - FEWEST_FOUND) ? [`${missed.length} of ${attacks} attacks are missed`] : []),
    ...wrong.map(({ one, raised }) => `${idOf(one)} raises ${raised.map(({ rule }) => rule).join(', ')}`),
    ...(benignHits.length > benign / BENIGN_PER_HIT ? [`${benignHits.length} of ${benign} recorded starts raise one`] : []),
  ];
  if (faults.length > 0) throw new Error(`Error: ${faults.join('; ')}\n${recallTable(result)}`);
  return result;
}

/** Attacks kept of each alert type, spread over its cases. */
const MAX_ATTACKS = 24;
/** Longer command lines say little more. */
const LONGEST_LINE = 300;

/** The attacks that exceptions are applied to, see ExceptionEffect: of each type with a rule of level high or critical. */
export function sampleAttacks(rules: readonly ParsedRule[], cases: readonly UnseenCase[]): string {
  const types = new Set(
    rules.filter(({ facts }) => !isBelow(facts.level, 'high')).map(({ facts }) => alertTypeOf(facts)),
  );
  const lines = [...types].sort().flatMap((type) => {
    const events = cases
      .filter(({ alert, expect }) => alert === type && expect)
      .flatMap(({ events: all }) => all.slice(-1).map(attackEvent))
      .filter(
        ([, payload]) => payload.Payload === undefined && String(payload.CommandLine ?? '').length <= LONGEST_LINE,
      );
    const step = Math.max(1, events.length / MAX_ATTACKS);
    const kept = events.filter((_, index) => Math.floor(index / step) !== Math.floor((index - 1) / step));
    return kept.length === 0
      ? []
      : [`${JSON.stringify(type)}: [\n${kept.map((one) => JSON.stringify(one)).join(',\n')}\n]`];
  });
  return `{\n${lines.join(',\n')}\n}\n`;
}

/** The last event of a case; of a field with several values, the first. */
function attackEvent({ event, after: _, times: __, ...fields }: UnseenCase['events'][number]): AttackEvent {
  const payload = Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, [value].flat()[0]]));
  return [String(event), event === 'ProcessCreate' ? { UserId: '0', ...payload } : payload];
}

/** @throws Error with file, line and reason of each fault: a shipped rule must load */
export function compileRules(folder: string): string {
  const files = readRuleFiles(folder);
  const { rules, faults } = readRuleSet(files.flatMap(({ documents }) => documents));
  throwIfFaulty(folder, faults);
  const exempting = rules.flatMap((rule) =>
    rule.is === 'detection' && exemptsByParent(rule.expression)
      ? [`${rule.facts.file}: "${rule.facts.title}" exempts by the parent; name trusted actors under "vakt: lowered:"`]
      : [],
  );
  if (exempting.length > 0) throw new Error(exempting.join('\n'));
  const rows = files.map(
    ({ file, documents }) => `${JSON.stringify(file)}: [\n${jsonLines(documents.map(({ value }) => value))}\n]`,
  );
  return `{"documents": {\n${rows.join(',\n')}\n},\n"selections": [\n${jsonLines(selectionsOf(rules))}\n]}\n`;
}

/** What selects the rules of each source. What depends on lists of the twin is left to the device. */
function selectionsOf(rules: readonly ParsedRule[]): CompiledRules['selections'] {
  const bySource = new Map<string, DetectionRule[]>();
  for (const rule of rules) {
    if (rule.is === 'correlation' || rule.facts.requires.length > 0 || readsList(rule)) continue;
    for (const source of rule.facts.sources) bySource.set(source, [...(bySource.get(source) ?? []), rule]);
  }
  return [...bySource.values()].map((all) => ({
    rules: all.map(({ facts }) => facts.id),
    ...toJson(
      select(
        all.map(({ expression }) => expression),
        () => [],
      ),
    ),
  }));
}

/** Whether a field of the parent can keep a rule from matching: any user chooses a parent, its arguments and its path. */
export function exemptsByParent(expression: Expression, isNegated = false): boolean {
  switch (expression.is) {
    case 'and':
    case 'or':
      return expression.of.some((each) => exemptsByParent(each, isNegated));
    case 'not':
      return exemptsByParent(expression.of, !isNegated);
    case 'field':
      return isNegated && expression.field.startsWith('Parent');
    default:
      return false;
  }
}

function readsList({ expression }: DetectionRule): boolean {
  let reads = false;
  visit(expression, (_, test) => {
    if (test?.is === 'list') reads = true;
  });
  return reads;
}
