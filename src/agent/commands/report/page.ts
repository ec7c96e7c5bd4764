import { counted } from '../../../core/base/text.ts';
import type { ScanOptions } from '../../../core/contract/baseline.ts';
import type { Payload } from '../../../core/contract/event.ts';
import type { LocalStatus } from '../../status/schema.ts';
import { describe as describeAlert } from '../alerts.ts';
import { baselineOverview, baselineSections, ruleSetLine } from '../baseline/page.ts';
import { REPORT_STYLE, STYLE } from '../baseline/page-assets.ts';
import { countOf, type Scanned, scopeOf } from '../baseline/scanned.ts';
import type { Hardware } from '../hardware/ask.ts';
import { escaped, htmlPage } from '../html.ts';
import { verdict } from '../verdict.ts';
import { glance } from './glance.ts';
import { type Fallible, isProblem, type Report, type Rows, type Software } from './report.ts';

/** Maximum number of rows of one table; all rows are in the JSON report. */
const MAX_ROWS = 5_000;
/** A longer list is folded, so that the page can be read from top to bottom. */
const UNFOLDED = 12;

/** @param categories the description of each category of rules, by name */
export function reportPage(
  report: Report,
  { options, categories }: { options: ScanOptions; categories: Readonly<Record<string, string>> },
): string {
  const sections = sectionsOf(report, options, categories);
  const links = sections.map(({ id, title }) => `<li><a href="#${id}">${title}</a></li>`).join('');
  return htmlPage({
    title: `Security report of ${report.subject}`,
    style: STYLE + REPORT_STYLE,
    header: `<h1>Security report of ${escaped(report.subject)}</h1>
<p class="when">${escaped(report.at.replace('T', ' ').slice(0, 16))} UTC, by ${escaped(report.by)} with Vakt ${escaped(report.version)}${report.of === 'tree' ? ' · a root tree: only its files were read' : ''}</p>
<nav aria-label="Parts"><ul>${links}</ul></nav>`,
    main: sections
      .map(({ id, title, html }) => `<section id="${id}">\n<h2>${title}</h2>\n${html}\n</section>`)
      .join('\n'),
    footer:
      '<p>Made on the device; nothing was sent. What could not be read is listed, and does not count as passed.</p>',
  });
}

interface Section {
  readonly id: string;
  readonly title: string;
  readonly html: string;
}

function sectionsOf(
  report: Report,
  options: ScanOptions,
  categories: Readonly<Record<string, string>>,
): readonly Section[] {
  const { subject, system, baseline, ports, firewall, accounts, agent, alerts, hardware } = report;
  const gaps = gapsOfReport(report);
  return [
    { id: 'verdict', title: 'Verdict', html: glance(report, gaps.length) },
    { id: 'unseen', title: 'What this report does not show', html: unseen(gaps) },
    { id: 'system', title: 'System', html: either(system, (facts) => pairs(facts)) },
    { id: 'agent', title: 'Agent', html: either(agent, (status) => agentState(status, new Date(report.at))) },
    { id: 'alerts', title: 'Alerts', html: either(alerts, alertList) },
    {
      id: 'ports',
      title: 'Open ports',
      html: either(ports, (rows) => rowTable(rows, PORT_COLUMNS, 'No port is open.')),
    },
    {
      id: 'firewall',
      title: 'Firewall',
      html: either(firewall, firewallRules),
    },
    {
      id: 'accounts',
      title: 'Accounts',
      html: either(accounts, (rows) => rowTable(rows, ACCOUNT_COLUMNS, 'No account.')),
    },
    {
      id: 'baseline',
      title: 'Hardening',
      html: either(baseline, (found) => {
        const scanned: Scanned = { subject, options, report: found };
        return `<p class="about">${escaped(scopeOf(scanned).join(', '))}. ${ruleSetLine(scanned)}</p>
${baselineOverview(scanned)}
${baselineSections(scanned, categories, 3)}`;
      }),
    },
    { id: 'software', title: 'Software', html: either(report.software, softwareTable) },
    ...(hardware === undefined ? [] : [{ id: 'hardware', title: 'Hardware', html: hardwareParts(hardware) }]),
  ];
}

const note = (text: string): string => `<p class="note">${escaped(text)}</p>`;
const either = <T>(found: Fallible<T>, html: (found: T) => string): string =>
  isProblem(found) ? note(found.problem) : html(found);

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string => {
  const cells = (row: readonly string[], tag: 'th' | 'td') =>
    row.map((text) => `<${tag}>${escaped(text)}</${tag}>`).join('');
  const body = rows.slice(0, MAX_ROWS).map((row) => `<tr>${cells(row, 'td')}</tr>`);
  const more = rows.length > MAX_ROWS ? note(`${rows.length - MAX_ROWS} more are in the JSON report.`) : '';
  const whole = `<div class="wide"><table><thead><tr>${cells(head, 'th')}</tr></thead><tbody>${body.join('\n')}</tbody></table></div>${more}`;
  return rows.length > UNFOLDED ? folded(counted(rows.length, 'row'), whole) : whole;
};

const folded = (title: string, html: string): string =>
  `<details class="rule"><summary><span></span><span class="title">${escaped(title)}</span></summary>\n${html}</details>`;

const pairs = (facts: Payload): string =>
  table(
    ['Fact', 'Value'],
    Object.entries(facts).flatMap(([name, value]) => flat(name, value)),
  );

const flat = (name: string, value: unknown): string[][] =>
  typeof value === 'object' && value !== null
    ? Object.entries(value).flatMap(([inner, each]) => flat(inner, each))
    : [[name, String(value)]];

type Columns = readonly (readonly [heading: string, value: (row: Payload) => unknown])[];
const detail = (name: string) => (row: Payload) => (row.ExtraDetails as Record<string, unknown> | undefined)?.[name];
const member = (name: string) => (row: Payload) => row[name];

const PORT_COLUMNS: Columns = [
  ['Protocol', member('Protocol')],
  ['Address', member('LocalAddress')],
  ['Port', member('LocalPort')],
  ['Program', detail('Executable')],
  ['User id', detail('UserId')],
];
const FIREWALL_COLUMNS: Columns = [
  ['Chain', member('ChainName')],
  ['Direction', member('Direction')],
  ['Action', member('Action')],
  ['In force', (row) => (row.Enabled === true ? 'yes' : 'no')],
  ['From', (row) => ends(row.SourceAddress, row.SourcePort)],
  ['To', (row) => ends(row.DestinationAddress, row.DestinationPort)],
  ['Protocol', member('Protocol')],
  ['Statement', detail('Target')],
];
const ACCOUNT_COLUMNS: Columns = [
  ['Account', member('UserName')],
  ['User id', member('UserId')],
  ['Groups', (row) => String(row.GroupNames).replaceAll(';', ', ')],
  ['Shell', detail('Shell')],
  ['Password', (row) => detail('Password')(row) ?? 'unknown'],
];

const ends = (address: unknown, port: unknown): string =>
  [address, port].filter((part) => part !== undefined).join(' port ');

const gapsOf = ({ leftOut, reason }: Rows): readonly string[] => [
  ...(reason === undefined ? [] : [reason]),
  ...(leftOut === 0 ? [] : [`${leftOut} rows are missing, because the list has a limit.`]),
];

function rowTable(found: Rows, columns: Columns, empty: string): string {
  const notes = gapsOf(found);
  const { rows } = found;
  const body = rows.map((row) => columns.map(([, value]) => String(value(row) ?? '')));
  // With a limit, an empty list says nothing.
  const list =
    rows.length > 0
      ? table(
          columns.map(([heading]) => heading),
          body,
        )
      : notes.length > 0
        ? ''
        : `<p>${empty}</p>`;
  return notes.map(note).join('') + list;
}

function firewallRules(found: Rows): string {
  const isOff =
    found.rows.every(({ Enabled }) => Enabled !== true) && found.reason === undefined && found.leftOut === 0;
  const none = isOff ? note('No rule is in force: every packet passes.') : '';
  return none + rowTable(found, FIREWALL_COLUMNS, '');
}

const softwareTable = ({ manager, where, packages }: Software): string =>
  `<p class="about">${packages.length} packages of ${escaped(manager)}, from ${escaped(where)}.</p>
${table(
  ['Package', 'Version'],
  packages.map(({ name, version }) => [name, version]),
)}`;

function alertList(alerts: readonly unknown[]): string {
  if (alerts.length === 0) return '<p>No alert so far.</p>';
  const all = alerts.map((alert) => `<pre>${escaped(describeAlert(alert).join('\n').trim())}</pre>`).reverse();
  const older = all.slice(UNFOLDED);
  return [
    ...all.slice(0, UNFOLDED),
    ...(older.length === 0 ? [] : [folded(`${older.length} older`, older.join('\n'))]),
  ].join('\n');
}

function agentState(status: LocalStatus, now: Date): string {
  const { version, state, startedAt, configuration } = status;
  return `<p>${escaped(summaryOf(status, now))}</p>
${table(
  ['Fact', 'Value'],
  [
    ['Version', String(version)],
    ['State', String(state)],
    ['Since', String(startedAt)],
    ['Configuration', String(configuration?.source)],
    ...Object.entries(configuration?.errors ?? {}).map(([name, why]) => [`Refused: ${name}`, String(why)]),
  ],
)}
${table(
  ['Event', 'State', 'Source', 'Reason'],
  Object.entries(status.collectors ?? {}).map(([name, one]) => [name, one.state, one.source ?? '', one.reason ?? '']),
)}`;
}

/** Any process of the agent's user could answer at its socket, also with less than a status. */
function summaryOf(status: LocalStatus, now: Date): string {
  try {
    return verdict(status, now);
  } catch {
    return 'The status of the agent is not one of this version.';
  }
}

function hardwareParts({ answers, problems }: Hardware): string {
  const missing = Object.entries(problems).map(([name, why]) => note(`${name}: ${why}`));
  const found = Object.entries(answers).map(([name, answer]) =>
    folded(name, `<pre>${escaped(JSON.stringify(answer, null, 2))}</pre>`),
  );
  return [...missing, ...found].join('\n');
}

const unseen = (gaps: readonly (readonly string[])[]): string =>
  gaps.length === 0 ? '<p>Everything in this report could be read.</p>' : table(['Part', 'Why'], gaps);

/** Everything that is missing, in one place: which part, and why. */
function gapsOfReport(report: Report): readonly (readonly string[])[] {
  const parts: readonly (readonly [string, unknown])[] = [
    ['System', report.system],
    ['Agent', report.agent],
    ['Alerts', report.alerts],
    ['Open ports', report.ports],
    ['Firewall', report.firewall],
    ['Accounts', report.accounts],
    ['Hardening', report.baseline],
    ['Software', report.software],
  ];
  const hardware = Object.entries(report.hardware?.problems ?? {}).map(([name, why]) => [`Hardware: ${name}`, why]);
  const missing = parts.flatMap(([title, found]) => (isProblem(found) ? [[title, found.problem]] : []));
  const lists = (
    [
      ['Open ports', report.ports],
      ['Firewall', report.firewall],
      ['Accounts', report.accounts],
    ] as const
  ).flatMap(([title, found]) => (isProblem(found) ? [] : gapsOf(found).map((gap) => [title, gap])));
  const limits = isProblem(report.baseline) ? [] : report.baseline.limits.map((limit) => ['Hardening', limit]);
  const notJudged = isProblem(report.baseline) ? 0 : countOf(report.baseline.outcomes, 'err');
  const rules = notJudged === 0 ? [] : [['Hardening', `${counted(notJudged, 'rule')} could not be evaluated`]];
  const collectors = isProblem(report.agent) ? [] : Object.entries(report.agent.collectors ?? {});
  const sources = collectors
    .filter(([, { state }]) => state !== 'on')
    .map(([name, { state, reason }]) => [`Agent: ${name}`, reason ?? state]);
  const reasons = isProblem(report.agent) ? [] : Object.entries(report.agent.delivery?.dropped ?? {});
  const dropped = reasons
    .filter(([, count]) => Number(count) > 0)
    .map(([why, count]) => ['Agent: events dropped', `${count}, ${why}`]);
  return [...missing, ...lists, ...limits, ...rules, ...hardware, ...sources, ...dropped];
}
