import { printable } from '../../../core/base/text.ts';
import type { CheckOutcome } from '../../../core/contract/baseline.ts';
import { evidenceRows } from './evidence.ts';
import { countOf, type Scanned } from './scanned.ts';

/*
 * The report of a scan as JUnit XML, as Jenkins and GitLab read it: a suite for each category, a case for each rule. It has no
 * severities: every rule that fails is a failure, with its severity as `type`; one that could not be evaluated is an error.
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
  const { outcomes, customChecksRefused: refused } = scanned.report;
  const categories = [...new Set(outcomes.map(({ category }) => category))];
  const suites = categories.map((category, id) =>
    ruleSuite({ category, id, outcomes: outcomes.filter((one) => one.category === category) }, scanned),
  );
  if (refused !== undefined) suites.push(refusedSuite(refused, suites.length, scanned));
  return `<?xml version="1.0" encoding="UTF-8"?>
<testsuites>
${suites.join('\n')}
</testsuites>
`;
}

interface Suite {
  readonly name: string;
  readonly id: number;
  /** As attributes. */
  readonly counts: string;
  readonly cases: readonly string[];
}

function ruleSuite(
  { category, id, outcomes }: { category: string; id: number; outcomes: readonly CheckOutcome[] },
  scanned: Scanned,
): string {
  const [failures, errors, skipped] = (['fail', 'err', 'skip'] as const).map((result) => countOf(outcomes, result));
  const counts = `tests="${outcomes.length}" failures="${failures}" errors="${errors}" skipped="${skipped}"`;
  return suite({ name: category, id, counts, cases: outcomes.map(testCase) }, scanned);
}

/** Without it, a file of rules that is refused would look like one whose rules all pass. */
function refusedSuite(why: string, id: number, scanned: Scanned): string {
  const message = escaped(`not evaluated: ${why}`);
  const error = `<error message="${message}" type="refused">${message}</error>`;
  return suite(
    {
      name: 'custom',
      id,
      counts: 'tests="1" failures="0" errors="1" skipped="0"',
      cases: [`<testcase classname="custom" name="The rules of --custom" time="0">${error}</testcase>`],
    },
    scanned,
  );
}

function suite({ name, id, counts, cases }: Suite, { report, subject, evidence }: Scanned): string {
  const facts: readonly (readonly [string, string])[] = [
    ['Subject', subject],
    ['Rule set', `${report.ruleSet.version} ${report.ruleSet.sha256}`],
    ...(evidence === undefined ? [] : evidenceRows(evidence)),
    ...report.limits.map((limit) => ['Limit', limit] as const),
  ];
  const properties = facts.map(([label, value]) => `<property name="${escaped(label)}" value="${escaped(value)}"/>`);
  // JUnit's schema has no time zone; readers take the time as UTC.
  const timestamp = report.scannedAt.toISOString().slice(0, 19);
  const made = `timestamp="${timestamp}" hostname="${escaped(evidence?.madeOn ?? 'localhost')}"`;
  return `<testsuite name="${escaped(name)}" package="vakt.baseline" id="${id}" ${counts} time="0" ${made}>
<properties>${properties.join('')}</properties>
${cases.join('\n')}
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
  const message = result === 'fail' ? `found ${actual ?? 'nothing'}` : `not evaluated: ${reason ?? 'unknown'}`;
  const lines = [
    ['Found', actual],
    ['Because', reason],
    ['Expected', expected],
    ['Where', where],
    ['Fix', remediation],
  ].flatMap(([label, text]) => (text === undefined ? [] : [escaped(`${label}: ${text}`)]));
  return `${begin}><${element} message="${escaped(message)}" type="${severity}">${lines.join('\n')}</${element}></testcase>`;
}
