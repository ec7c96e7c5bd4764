import { table } from '../../../core/command-line/command.ts';
import type { CheckOutcome } from '../../../core/contract/baseline.ts';
import type { RuleExplanation } from '../../baseline/rule-set.ts';
import { hanging, widthOf } from '../wrap.ts';
import { type Evidence, evidenceRows } from './evidence.ts';
import { bySeverity, countOf, problems, RESULT_NAMES, type Scanned, scopeOf } from './scanned.ts';

/* The report of a scan as text, for a terminal of any width. */

const LABEL = 12;

/** Rules that failed or could not be evaluated, with all details; with `all`, one line for each other rule. */
export function describeScan(scanned: Scanned, { columns, all }: { columns?: number; all: boolean }): string[] {
  const width = widthOf(columns);
  const { outcomes } = scanned.report;
  const remaining = outcomes.filter(({ result }) => result === 'pass' || result === 'skip');
  return [
    ...problems(scanned.report).flatMap((outcome) => [...block(outcome, width), '']),
    ...(all && remaining.length > 0 ? [...table(remaining.map(line)), ''] : []),
    ...summary(scanned, width),
  ];
}

function block(outcome: CheckOutcome, width: number): string[] {
  const { result, severity, title, rule, actual, expected, where, reason, remediation } = outcome;
  const fields: readonly (readonly [string, string | undefined])[] = [
    ['found', actual],
    ['because', reason],
    ['expected', expected],
    ['where', where],
    ['fix', remediation],
    ['rule', rule],
  ];
  return [
    ...hanging(`${RESULT_NAMES[result].toUpperCase()}  ${severity}  `, title, width, 4),
    ...fields.flatMap(([label, text]) =>
      text === undefined ? [] : hanging(`    ${label.padEnd(LABEL - 2)}`, text, width, LABEL + 2),
    ),
  ];
}

const line = ({ result, severity, title, rule, reason }: CheckOutcome): string[] => [
  RESULT_NAMES[result],
  severity,
  rule,
  reason === undefined ? title : `${title} (${reason})`,
];

function summary(scanned: Scanned, width: number): string[] {
  const { report, subject } = scanned;
  const { outcomes, ruleSet, durationMs, limits, customChecksRefused } = report;
  const failed = outcomes.filter(({ result }) => result === 'fail');
  const severities = bySeverity(failed).map(([severity, count]) => `${count} ${severity}`);
  const evaluatedCount = outcomes.length - countOf(outcomes, 'skip');
  const sentences = [
    `${failed.length} of ${evaluatedCount} rules failed${severities.length === 0 ? '' : `: ${severities.join(', ')}`}.`,
    `${countOf(outcomes, 'pass')} passed, ${countOf(outcomes, 'err')} could not be evaluated, ${countOf(outcomes, 'skip')} were skipped.`,
    `Checked ${subject} in ${durationMs} ms: ${scopeOf(scanned).join(', ')}; rule set ${ruleSet.version} (${ruleSet.sha256.slice(0, 12)}).`,
    ...(scanned.evidence === undefined ? [] : [evidenceSentence(scanned.evidence)]),
    ...limits,
    ...(customChecksRefused === undefined ? [] : [`The custom rules were not evaluated: ${customChecksRefused}.`]),
  ];
  return sentences.flatMap((sentence) => hanging('', sentence, width, 2));
}

/** The text of `--explain`. */
export function describeRule(rule: RuleExplanation, columns?: number): string[] {
  const width = widthOf(columns);
  const fields: readonly (readonly [string, string])[] = [
    ['rule', rule.id],
    ['title', rule.title],
    ['severity', `${rule.severity}, level ${rule.level}${rule.level === 1 ? '' : ' (opt-in)'}`],
    ['category', rule.category],
    ['checks', `${rule.looksAt} (${rule.primitive})`],
    ['expects', rule.expected],
    ['fix', rule.remediation],
    ['needs', rule.needs.length === 0 ? 'nothing' : rule.needs.map((need) => need.replaceAll('|', ' or ')).join(', ')],
    ['not for', rule.notRole.length === 0 ? 'applies to all roles' : rule.notRole.join(', ')],
    [
      'containers',
      rule.inContainers ? 'evaluated in containers, too' : 'skipped in a container that does not see its host',
    ],
    ...(rule.cce === undefined ? [] : [['CCE', rule.cce] as const]),
    ['required by', rule.source.length === 0 ? 'no published guideline' : rule.source.join('; ')],
  ];
  return fields.flatMap(([label, text]) => hanging(label.padEnd(LABEL + 2), text, width, LABEL + 2));
}

const evidenceSentence = (evidence: Evidence): string =>
  `${evidenceRows(evidence)
    .map(([label, text]) => `${label}: ${text}`)
    .join('; ')}.`;
