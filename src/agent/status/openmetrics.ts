import { DROP_REASONS, UNIDENTIFIED } from '../../core/base/counters.ts';
import { EVENTS } from '../../core/contract/events.ts';
import { SUPPRESSED_BY } from '../detections/alerts/policy.ts';
import type { LocalStatus } from './schema.ts';

/** Content type of the answer to `GET /metrics`. */
export const OPENMETRICS = 'application/openmetrics-text; version=1.0.0; charset=utf-8';

/** The values of one metric, each with its labels. */
type Samples = readonly (readonly [number, Readonly<Record<string, string>>?])[];

/** Named by Prometheus' conventions: base units, and `_total` for what only grows. */
interface Metric {
  /** Without the suffix `_total`. */
  readonly name: string;
  /** No other types: node_exporter's textfile collector refuses `info` and `stateset`. */
  readonly type: 'counter' | 'gauge';
  readonly help: string;
  readonly of: (status: LocalStatus) => Samples;
}

const counter = (name: string, help: string, of: Metric['of']): Metric => ({ name, type: 'counter', help, of });
const gauge = (name: string, help: string, of: Metric['of']): Metric => ({ name, type: 'gauge', help, of });

const flag = (is: boolean): number => (is ? 1 : 0);
const epochSeconds = (time: string): number => Date.parse(time) / 1_000;

/** A sample for each state, 1 for the one that is in force. */
const states = (all: readonly string[], now: string, labels: Readonly<Record<string, string>> = {}): Samples =>
  all.map((state) => [flag(state === now), { ...labels, state }]);

type Account = LocalStatus['events'][string];

const NONE: Account = { collected: 0, delivered: 0, aggregatedAway: 0, queued: 0, dropped: {} };

/**
 * Accounts of all events. A counter that began with its first increase would not seem to have increased: `increase()`
 * compares two samples.
 */
const accountsOf = ({ events }: LocalStatus): [event: string, account: Account][] => {
  const names = new Set([...Object.keys(EVENTS), UNIDENTIFIED, ...Object.keys(events)]);
  return [...names].map((event) => [event, Object.hasOwn(events, event) ? (events[event] ?? NONE) : NONE]);
};

/** A sample for each event of the accounts. */
const byEvent =
  (figure: 'collected' | 'delivered' | 'aggregatedAway' | 'queued'): Metric['of'] =>
  (status) =>
    accountsOf(status).map(([event, account]) => [account[figure], { event }]);

/** A sample for each member of an object of numbers. */
const by = (label: string, counts: Readonly<Record<string, number | undefined>> = {}): Samples =>
  Object.entries(counts).map(([name, count]) => [count ?? 0, { [label]: name }]);

export const METRICS: readonly Metric[] = [
  gauge('vakt_build_info', 'Version and id of the agent; always 1.', ({ version, agentId }) => [
    [1, { version, agent_id: agentId }],
  ]),
  gauge('vakt_state', 'State of the agent: 1 for the one it is in.', ({ state }) =>
    states(['running', 'degraded', 'paused', 'stopping'], state),
  ),
  gauge('vakt_start_time_seconds', 'When the agent started, in seconds since the epoch.', ({ startedAt }) => [
    [epochSeconds(startedAt)],
  ]),
  gauge('vakt_unclean_restarts', 'Runs that failed or were killed since the last one that was stopped.', (status) => [
    [status.restarts.unclean],
  ]),
  gauge('vakt_hub_connected', 'Whether the agent is connected to the hub.', ({ hub }) => [
    [flag(hub.state === 'connected')],
  ]),
  gauge('vakt_credential_expiry_timestamp_seconds', 'When the credential in use expires.', ({ credential }) =>
    credential.expiresAt === undefined ? [] : [[epochSeconds(credential.expiresAt)]],
  ),
  gauge(
    'vakt_configuration_errors',
    'Errors of the desired configuration, which is refused if there is one.',
    (status) => [[Object.keys(status.configuration.errors).length]],
  ),
  gauge('vakt_configuration_warnings', 'Warnings about the desired configuration.', ({ configuration }) => [
    [Object.keys(configuration.warnings).length],
  ]),
  gauge('vakt_configuration_desired_version', '$version of the desired properties that were read last.', (status) =>
    status.configuration.desiredVersion === undefined ? [] : [[status.configuration.desiredVersion]],
  ),
  gauge('vakt_collector_state', 'State of the collector of each event: 1 for the one it is in.', ({ collectors }) =>
    Object.entries(collectors).flatMap(([event, { state }]) =>
      states(['on', 'off', 'degraded', 'unavailable'], state, { event }),
    ),
  ),
  counter(
    'vakt_events_collected',
    'Events collected = delivered + aggregated + queued + dropped.',
    byEvent('collected'),
  ),
  counter('vakt_events_delivered', 'Events that the hub has acknowledged.', byEvent('delivered')),
  counter('vakt_events_aggregated', 'Events that were merged into an aggregated one.', byEvent('aggregatedAway')),
  counter('vakt_events_dropped', 'Events that were dropped, by reason.', (status) =>
    accountsOf(status).flatMap(([event, { dropped }]) =>
      DROP_REASONS.map((reason) => [dropped[reason] ?? 0, { event, reason }] as const),
    ),
  ),
  gauge('vakt_events_queued', 'Events in the queues.', byEvent('queued')),
  gauge('vakt_queue_bytes', 'Size of the events in each queue, as JSON.', ({ delivery: { queued } }) => [
    [queued.highBytes, { queue: 'High' }],
    [queued.lowBytes, { queue: 'Low' }],
  ]),
  counter('vakt_messages_sent', 'Messages that the hub has acknowledged.', ({ messages }) => [[messages.sent]]),
  counter('vakt_messages_failed', 'Attempts to send a message that failed.', ({ messages }) => [[messages.failed]]),
  gauge('vakt_message_units_today', 'Units of 4 KB used in this UTC day, as the hub bills them.', ({ delivery }) =>
    delivery.unitsToday === undefined ? [] : [[delivery.unitsToday]],
  ),
  gauge('vakt_message_units_limit', 'Units of 4 KB that may be used in a UTC day; 0: no limit.', ({ delivery }) =>
    delivery.unitsPerDay === undefined ? [] : [[delivery.unitsPerDay]],
  ),
  gauge('vakt_store_on_disk', 'Whether new events are stored on disk.', ({ store }) => [
    [flag(store.place === 'disk')],
  ]),
  gauge('vakt_store_nearly_full', 'Whether the oldest events will be dropped soon.', ({ store }) => [
    [flag(store.isNearlyFull)],
  ]),
  gauge('vakt_memory_resident_bytes', 'Memory of the agent excluding pages of program files.', ({ memory }) => [
    [memory.residentBytes],
  ]),
  gauge('vakt_memory_budget_bytes', 'Memory budget of the agent.', ({ memory }) => [[memory.budgetBytes]]),
  gauge('vakt_rules_loaded', 'Detection rules that were loaded.', ({ detections }) =>
    detections === undefined ? [] : [[detections.rules.loaded]],
  ),
  gauge('vakt_rules_off', 'Loaded detection rules that are off, by reason.', ({ detections }) =>
    by('reason', detections?.rules.off),
  ),
  gauge('vakt_rule_files_refused', "Files of the device's own rules that were refused.", ({ detections }) =>
    detections === undefined ? [] : [[detections.rules.refused]],
  ),
  counter('vakt_alerts', 'Alerts raised, by severity.', ({ detections }) => by('severity', detections?.alerts)),
  counter('vakt_alert_matches_counted', 'Further matches that an alert counts.', ({ detections }) =>
    detections === undefined ? [] : [[detections.counted]],
  ),
  counter('vakt_alert_matches_suppressed', 'Matches that made no alert, by reason.', ({ detections }) =>
    detections === undefined ? [] : SUPPRESSED_BY.map((reason) => [detections.suppressed[reason] ?? 0, { reason }]),
  ),
  gauge('vakt_baseline_failed_rules', 'Hardening rules that fail, by severity.', ({ posture }) =>
    by('severity', posture.baseline?.failedBySeverity),
  ),
  gauge('vakt_open_ports', 'Ports that are open at an address other than loopback.', ({ posture: { exposure } }) =>
    exposure === undefined ? [] : [[exposure.openPorts]],
  ),
];

/** The only one that is there without an agent, too. */
export const UP = gauge('vakt_up', 'Whether the agent runs and answers.', () => [[1]]);

/** A text format: OpenMetrics 1.0, or Prometheus' own 0.0.4, in which a counter's name is that of its samples. */
export type Format = 'openmetrics' | 'prometheus';

/**
 * The status as metrics. node_exporter's textfile collector reads both formats, but loses type and help of OpenMetrics'
 * counters.
 *
 * @param status `undefined`: the agent does not run
 */
export function metricsText(status: LocalStatus | undefined, format: Format): string {
  const metrics = status === undefined ? [] : METRICS.flatMap((metric) => textOf(metric, metric.of(status), format));
  const end = format === 'openmetrics' ? ['# EOF'] : [];
  return `${[...textOf(UP, [[flag(status !== undefined)]], format), ...metrics, ...end].join('\n')}\n`;
}

function textOf({ name, type, help }: Metric, samples: Samples, format: Format): string[] {
  if (samples.length === 0) return [];
  const sampled = type === 'counter' ? `${name}_total` : name;
  const family = format === 'openmetrics' ? name : sampled;
  return [
    `# TYPE ${family} ${type}`,
    `# HELP ${family} ${help}`,
    ...samples.map(([value, labels = {}]) => `${sampled}${labelled(labels)} ${Number(value)}`),
  ];
}

function labelled(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

/** OpenMetrics 1.0, ABNF `escaped-char`. */
const escaped = (value: string): string =>
  String(value).replace(/[\\"\n]/g, (character) => (character === '\n' ? '\\n' : `\\${character}`));
