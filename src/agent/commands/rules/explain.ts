import { printable } from '../../../core/base/text.ts';
import { UsageError, type World } from '../../../core/command-line/command.ts';
import { didYouMean } from '../../../core/command-line/did-you-mean.ts';
import { ALERT_LEVELS } from '../../../core/contract/event.ts';
import { SETTINGS } from '../../../core/contract/settings.ts';
import { type ActorKind, TRUSTED_ACTORS } from '../../detections/actors/trusted-actors.ts';
import type { ParsedRule } from '../../detections/sigma/rule.ts';
import { levelOf, type Rule } from '../../detections/subject.ts';
import { allRules, faultLine } from './rule-files.ts';
import { conditionWords, correlationWords, selectionsIn, selectionWords } from './rule-words.ts';

const DEFAULT_MINIMUM_LEVEL = SETTINGS.detectionsMinimumLevel.fallback;

type Row = readonly [name: string, text: string | undefined];

/** @param name an id, a name, or the type of alerts */
export async function explainRule(name: string, folder: string, { stdout, stderr }: World): Promise<number> {
  const { rules, faults } = await allRules(folder);
  for (const fault of faults) stderr(printable(faultLine(fault)));
  const found = rules.filter(({ facts }) => [facts.id, facts.name, facts.alert].includes(name));
  if (found.length === 0) {
    const names = rules.flatMap(({ facts: { id, alert } }) => [id, ...(alert === undefined ? [] : [alert])]);
    throw new UsageError(`no rule has the id, name or alert type "${name}"${didYouMean(name, names)}`);
  }
  for (const [index, rule] of found.entries()) {
    if (index > 0) stdout('');
    for (const line of linesOf(rule, rules)) stdout(printable(line));
  }
  return 0;
}

function linesOf(rule: ParsedRule, rules: readonly ParsedRule[]): readonly string[] {
  const { facts } = rule;
  const before: readonly Row[] = [
    ['id', facts.id],
    ['level', `${facts.level}: ${visibilityOf(facts)}`],
    ...loweredBy(facts).map((text, index): Row => [index === 0 ? 'lowered by' : '', text]),
    ['alert', facts.alert],
    ['judged on', facts.sources.join(', ')],
    ['off until set', facts.requires.join(', ')],
    ['techniques', techniquesIn(facts.tags)],
    ['what it sees', facts.description],
  ];
  const after: readonly Row[] = [
    ['also raised by', facts.falsePositives.join('; ')],
    ['what to do', facts.remediation],
    ['author', facts.author],
    ['file', `${facts.file} (${facts.origin})`],
    ['references', facts.references.join(', ')],
  ];
  return [facts.title, ...before.flatMap(line), ...soughtBy(rule, rules), ...after.flatMap(line)];
}

const line = ([name, text = '']: Row): string[] =>
  text === '' ? [] : [`  ${(name === '' ? '' : `${name}:`).padEnd(15)} ${text}`];

const techniquesIn = (tags: readonly string[]) => tags.filter((tag) => tag.startsWith('attack.')).join(', ');

function visibilityOf({ alerts, level }: Rule): string {
  if (!alerts) return 'raises no alert itself, other rules build on it';
  const levels: readonly string[] = ALERT_LEVELS;
  const isVisible = levels.indexOf(level) >= levels.indexOf(DEFAULT_MINIMUM_LEVEL);
  return isVisible
    ? `raises alerts at the default minimum level, ${DEFAULT_MINIMUM_LEVEL}`
    : `counted only; raises alerts if the minimum level is ${level}, not ${DEFAULT_MINIMUM_LEVEL} as by default`;
}

/** One text for each kind of trusted actor. */
function loweredBy(rule: Rule): readonly string[] {
  const kinds = rule.lowered ?? [];
  const [during] = kinds;
  if (during === undefined) return [];
  const level = levelOf({ rule, during });
  return [`a trusted actor that started it, to ${level}:`, ...kinds.map((kind) => `${kind}: ${actorsOf(kind)}`)];
}

const actorsOf = (kind: ActorKind) =>
  TRUSTED_ACTORS.filter((actor) => actor.kind === kind)
    .map(({ name }) => name)
    .join(', ');

function soughtBy(rule: ParsedRule, rules: readonly ParsedRule[]): readonly string[] {
  if (rule.is === 'correlation') return line(['looks for', correlationWords(rule.correlation, rules)]);
  const { expression, facts } = rule;
  return [
    ...line(['looks for', conditionWords(expression)]),
    ...selectionsIn(expression).flatMap(({ name, expression: selection }) => {
      const tags = techniquesIn(facts.selectionTags?.[name] ?? []);
      const heading = tags === '' ? `    ${name}:` : `    ${name} (${tags}):`;
      return [heading, ...selectionWords(selection).map((text) => `      ${text}`)];
    }),
  ];
}
