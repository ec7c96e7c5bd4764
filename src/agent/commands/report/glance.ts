import { counted } from '../../../core/base/text.ts';
import { isPlainObject } from '../../../core/base/values.ts';
import { exposureOf } from '../../posture/exposure.ts';
import { bySeverity, countOf } from '../baseline/scanned.ts';
import { escaped } from '../html.ts';
import { isProblem, type Report } from './report.ts';

/** Severities of alerts, the most severe first. */
const ALERT_SEVERITIES = ['Critical', 'High', 'Medium', 'Low', 'Informational'];
const UNKNOWN = '?';
const SEVERE = new Set(['Critical', 'High', 'Important']);

interface Card {
  /** `fail` needs attention, `err` should be looked at. */
  readonly kind: 'fail' | 'err' | 'pass' | 'skip';
  readonly figure: string;
  readonly label: string;
  readonly details?: string;
}

/**
 * The state of a device in five figures and one sentence, as HTML for a page with `STYLE`.
 *
 * @param gaps number of parts that the report lacks, wholly or partly
 */
export function glance(report: Report, gaps: number): string {
  const cards = [alertsCard(report), exposureCard(report), rulesCard(report), agentCard(report), versionCard(report)];
  const named = (kind: Card['kind']) =>
    cards.filter((card) => card.kind === kind).map(({ figure, label }) => `${figure} ${label}`);
  const parts = [
    ['Needs attention', named('fail')],
    ['Look at', named('err').filter((name) => !name.startsWith(UNKNOWN))],
    ['Unknown', cards.filter(({ figure }) => figure === UNKNOWN).map(({ label }) => label)],
  ] as const;
  const sentences = parts
    .filter(([, names]) => names.length > 0)
    .map(([what, names]) => `${what}: ${names.join(', ')}.`);
  if (gaps > 0) sentences.push(`Missing: ${counted(gaps, 'part')} of this report, see below.`);
  const sentence = sentences.length === 0 ? 'Nothing needs attention.' : sentences.join(' ');
  const items = cards.map(
    ({ kind, figure, label, details }) =>
      `<li class="card ${kind}"><b>${escaped(figure)}</b> ${escaped(label)}${details ? `<small>${escaped(details)}</small>` : ''}</li>`,
  );
  return `<p><strong>${escaped(sentence)}</strong></p>\n<ul class="cards">${items.join('')}</ul>`;
}

/** The page gives the reason right after the verdict. */
const unknown = (label: string): Card => ({ kind: 'err', figure: UNKNOWN, label, details: 'unknown: see below' });

const listed = (counts: readonly (readonly [string, number])[]): string =>
  counts.map(([severity, count]) => `${count} ${severity}`).join(', ');

const kindOf = (counts: readonly (readonly [string, number])[]): Card['kind'] =>
  counts.length === 0 ? 'pass' : counts.some(([severity]) => SEVERE.has(severity)) ? 'fail' : 'err';

function alertsCard({ alerts }: Report): Card {
  if (isProblem(alerts)) return unknown('alerts');
  const severities = alerts.map((alert) => (isPlainObject(alert) ? String(alert.Severity) : ''));
  const counts = [...ALERT_SEVERITIES, 'of unknown severity']
    .map((name) => {
      const isIt = (one: string) => (ALERT_SEVERITIES.includes(name) ? one === name : !ALERT_SEVERITIES.includes(one));
      return [name, severities.filter(isIt).length] as const;
    })
    .filter(([, count]) => count > 0);
  const label = alerts.length === 1 ? 'alert' : 'alerts';
  return { kind: kindOf(counts), figure: String(alerts.length), label, details: listed(counts) };
}

function exposureCard({ ports }: Report): Card {
  if (isProblem(ports)) return unknown('reachable ports');
  const { openPorts, ports: text } = exposureOf(ports.rows);
  const isComplete = ports.leftOut === 0 && ports.reason === undefined;
  return {
    kind: openPorts === 0 && isComplete ? 'pass' : 'err',
    figure: isComplete ? String(openPorts) : `≥ ${openPorts}`,
    label: openPorts === 1 ? 'port can be reached from outside' : 'ports can be reached from outside',
    details: text,
  };
}

function rulesCard({ baseline }: Report): Card {
  if (isProblem(baseline)) return unknown('hardening rules');
  const failed = baseline.outcomes.filter(({ result }) => result === 'fail');
  const counts = bySeverity(failed);
  const unknownCount = countOf(baseline.outcomes, 'err');
  const missing = unknownCount === 0 ? [] : [`${unknownCount} could not be evaluated`];
  const isComplete = unknownCount === 0 && baseline.limits.length === 0;
  const kind = kindOf(counts);
  const label = failed.length === 1 ? 'hardening rule failed' : 'hardening rules failed';
  return {
    kind: kind === 'pass' && !isComplete ? 'err' : kind,
    figure: String(failed.length),
    label,
    details: [...counts.map(([severity, count]) => `${count} ${severity}`), ...missing].join(', '),
  };
}

function agentCard({ agent }: Report): Card {
  if (isProblem(agent)) return unknown('agent');
  const blind = Object.values(agent.collectors ?? {}).filter(({ state }) => state !== 'on' && state !== 'off').length;
  return {
    kind: agent.state === 'running' ? 'pass' : 'err',
    figure: String(agent.state),
    label: 'agent',
    ...(blind === 0 ? {} : { details: `${counted(blind, 'collector')} degraded or unavailable` }),
  };
}

function versionCard({ version, agent, system }: Report): Card {
  const running = isProblem(agent) || agent.version === version ? [] : [`the agent runs ${agent.version}`];
  const names = isProblem(system) ? [] : [system.OSName, system.OSVersion].filter((name) => name !== undefined);
  return {
    kind: running.length === 0 ? 'skip' : 'err',
    figure: version,
    label: 'version of Vakt',
    details: [...running, names.join(' ')].filter((part) => part !== '').join(', '),
  };
}
