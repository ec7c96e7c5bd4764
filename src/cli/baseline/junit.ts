import { printable } from '../../base/printable.ts';
import type { CheckOutcome } from '../../contract/baseline.ts';
import { evidenceRows } from './evidence.ts';
import { countOf, type Scanned } from './scanned.ts';

/*
 * The report of a scan as JUnit XML, as Jenkins and GitLab read it: a suite for each category, a case for each rule. It has no
 * severities: every rule that fails is a failure, with its severity as `type`; one that could not be judged is an error.
 *
 * It is valid by both schemas in use: that of Ant's reports (windyroad/JUnit-Schema), which asks for all attributes of a suite
 * and allows none of the whole, and junit-10.xsd of Jenkins's xUnit plugin, which refuses reports that are not valid by it.
 */

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
};
/** Control characters, which XML 1.0 cannot contain, and invisible ones are replaced. */
const escaped = (text: string): string => printable(text).replace(/[&<>"']/g, (sign) => ENTITIES[sign] ?? '');

export function junitReport(scanned: Scanned): string {
  const categories = [...new Set(scanned.report.outcomes.map(({ category }) => category))];
  return `<?xml version="1.0" encoding="UTF-8"?>
<testsuites>
${categories.map((category, id) => suite({ category, id }, scanned)).join('\n')}
</testsuites>
`;
}

const counts = (outcomes: readonly CheckOutcome[]): string =>
  `tests="${outcomes.length}" failures="${countOf(outcomes, 'fail')}" errors="${countOf(outcomes, 'err')}" skipped="${countOf(outcomes, 'skip')}"`;

function suite(
  { category, id }: { readonly category: string; readonly id: number },
  { report, subject, evidence }: Scanned,
): string {
  const outcomes = report.outcomes.filter((outcome) => outcome.category === category);
  const facts: readonly (readonly [string, string])[] = [
    ['Subject', subject],
    ['Rule set', `${report.ruleSet.version} ${report.ruleSet.sha256}`],
    ...(evidence === undefined ? [] : evidenceRows(evidence)),
  ];
  const properties = facts.map(([name, value]) => `<property name="${escaped(name)}" value="${escaped(value)}"/>`);
  // JUnit's schema has no time zone; readers take the time as UTC.
  const timestamp = report.scannedAt.toISOString().slice(0, 19);
  const made = `timestamp="${timestamp}" hostname="${escaped(evidence?.madeOn ?? 'localhost')}"`;
  return `<testsuite name="${escaped(category)}" package="vakt.baseline" id="${id}" ${counts(outcomes)} time="0" ${made}>
<properties>${properties.join('')}</properties>
${outcomes.map(testCase).join('\n')}
<system-out/>
<system-err/>
</testsuite>`;
}

function testCase({ rule, category, title, result, ...outcome }: CheckOutcome): string {
  const { actual, expected, where, reason, remediation, severity } = outcome;
  const begin = `<testcase classname="${escaped(category)}" name="${escaped(`${rule}: ${title}`)}" time="0"`;
  if (result === 'pass') return `${begin}/>`;
  if (result === 'skip') return `${begin}><skipped message="${escaped(reason ?? '')}"/></testcase>`;
  const element = result === 'fail' ? 'failure' : 'error';
  const message = result === 'fail' ? `found ${actual ?? 'nothing'}` : `not judged: ${reason ?? 'unknown'}`;
  const lines = [
    ['Found', actual],
    ['Because', reason],
    ['Expected', expected],
    ['Where', where],
    ['Fix', remediation],
  ].flatMap(([label, text]) => (text === undefined ? [] : [escaped(`${label}: ${text}`)]));
  return `${begin}><${element} message="${escaped(message)}" type="${severity}">${lines.join('\n')}</${element}></testcase>`;
}
