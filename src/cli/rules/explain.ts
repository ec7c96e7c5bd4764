import { printable } from '../../base/printable.ts';
import type { Rule } from '../../detections/subject.ts';
import { UsageError, type World } from '../command.ts';
import { didYouMean } from '../did-you-mean.ts';
import { allRules, faultLine } from './rule-files.ts';

/** @param name an id, a name, or the type of alerts */
export async function explainRule(name: string, folder: string, { stdout, stderr }: World): Promise<number> {
  const { rules, faults } = await allRules(folder);
  for (const fault of faults) stderr(printable(faultLine(fault)));
  const facts = rules.map((rule) => rule.facts);
  const found = facts.filter((rule) => [rule.id, rule.name, rule.alert].includes(name));
  if (found.length === 0) {
    const names = facts.flatMap(({ id, alert }) => [id, ...(alert === undefined ? [] : [alert])]);
    throw new UsageError(`no rule has the id, name or alert type "${name}"${didYouMean(name, names)}`);
  }
  for (const [index, rule] of found.entries()) {
    if (index > 0) stdout('');
    for (const line of linesOf(rule)) stdout(printable(line));
  }
  return 0;
}

function linesOf(rule: Rule): readonly string[] {
  const { id, title, level, alert, author, origin, file, sources, description, remediation } = rule;
  const rows: readonly (readonly [string, string | undefined])[] = [
    ['id', id],
    ['level', level],
    ['alert', alert],
    ['judged on', sources.join(', ')],
    ['off until set', rule.requires.join(', ')],
    ['techniques', rule.tags.filter((tag) => tag.startsWith('attack.')).join(', ')],
    ['what it sees', description],
    ['also raised by', rule.falsePositives.join('; ')],
    ['what to do', remediation],
    ['author', author],
    ['file', `${file} (${origin})`],
    ['references', rule.references.join(', ')],
  ];
  return [title, ...rows.flatMap(([name, text = '']) => (text === '' ? [] : [`  ${`${name}:`.padEnd(15)} ${text}`]))];
}
