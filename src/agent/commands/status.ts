import * as v from 'valibot';
import { systemClock } from '../../core/base/clock.ts';
import { askControlSocket, isNoAgentListening } from '../../core/base/control-socket.ts';
import { seconds } from '../../core/base/duration.ts';
import { AgentError } from '../../core/base/errors.ts';
import { counted, printable, printableJson } from '../../core/base/text.ts';
import { readArguments, table, UsageError, type World } from '../../core/command-line/command.ts';
import { describeDelivery } from '../../core/command-line/describe.ts';
import { publishedName } from '../../core/contract/settings.ts';
import { DEFAULT_CONFIG_FILE, LocalSettings, readLocalSettings } from '../config/local.ts';
import type { OffReason } from '../detections/detector.ts';
import { askServiceUnit } from '../linux/self/service-unit.ts';
import { RECOMMENDATION_IDS, SEVERITIES } from '../posture/recommendation.ts';
import { type Format, metricsText } from '../status/openmetrics.ts';
import type { LocalStatus } from '../status/schema.ts';
import { OFF_REASONS } from './rules/rule-words.ts';
import { withService } from './service-state.ts';
import { understood } from './understood.ts';
import { verdict } from './verdict.ts';

const CACHE_SIZE = publishedName('maxLocalCacheSizeInBytes');

export const summary = 'Show the status of the running agent.';
/** How often `--watch` asks. */
const EVERY = seconds(2);
/** Moves to the upper left corner and clears what is below; see console_codes(4). */
const CLEAR = '\u001b[H\u001b[J';

export const usage = `vakt status [--config FILE] [--json | --openmetrics | --prometheus] [--watch]

  --config FILE   the running agent's configuration; default ${DEFAULT_CONFIG_FILE}
  --json          print the whole status as JSON
  --openmetrics   print figures in OpenMetrics' text format; vakt_up is 0 when the agent is not running
  --prometheus    print them in Prometheus' own text format, for node_exporter's textfile collector
  --watch         repeat every two seconds, until Ctrl-C; with --json one line each

Exit status: 0 running; 1 not running, degraded, paused or stopping; 2 wrong usage.`;

const OPTIONS = {
  config: { type: 'string' },
  json: { type: 'boolean' },
  openmetrics: { type: 'boolean' },
  prometheus: { type: 'boolean' },
  watch: { type: 'boolean' },
} as const;

export async function run(args: readonly string[], world: World): Promise<number> {
  const { config, json, watch, openmetrics, prometheus } = readArguments(args, OPTIONS).values;
  const format: Format | undefined = openmetrics ? 'openmetrics' : prometheus ? 'prometheus' : undefined;
  if (format !== undefined && (json || watch || (openmetrics && prometheus)))
    throw new UsageError(`--${format} cannot be combined with --json, --watch or another format`);
  const { path: controlSocket, error } = controlSocketOf(config, world.environment);
  if (watch) return keepShowing(controlSocket, json === true, world);
  const asked = ask(controlSocket, world).catch((thrown) => explain(thrown, { config, error }, world.signal));
  if (format !== undefined) return showMetrics(asked, { controlSocket, format }, world);
  const [lines, exit] = understood(await asked, controlSocket, (status) => [
    json ? [printableJson(JSON.stringify(status, null, 2))] : describe(status),
    exitStatus(status),
  ]);
  for (const line of lines) world.stdout(line);
  return exit;
}

/** Prints `vakt_up 0` even if the agent does not run: a file that is not rewritten looks like one that is late. */
async function showMetrics(
  asked: Promise<LocalStatus>,
  { controlSocket, format }: { readonly controlSocket: string; readonly format: Format },
  { stdout, stderr }: World,
): Promise<number> {
  try {
    const status = await asked;
    stdout(understood(status, controlSocket, (read) => metricsText(read, format)).trimEnd());
    return exitStatus(status);
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    stdout(metricsText(undefined, format).trimEnd());
    stderr(printable(error.message));
    return 1;
  }
}

/**
 * Falls back to the default path if the configuration can't be read: the agent may be configured by its service's
 * environment variables, or the file may have become invalid since it started.
 */
export function controlSocketOf(config: string | undefined, environment: NodeJS.ProcessEnv) {
  try {
    return { path: readLocalSettings(config, environment).controlSocket };
  } catch (error) {
    if (config !== undefined || !(error instanceof AgentError)) throw error;
    return { path: v.getDefault(LocalSettings.entries.controlSocket), error };
  }
}

/** @throws the most helpful error for an agent that isn't running: from systemd, the configuration, or the socket */
export async function explain(
  thrown: unknown,
  { config, error }: { config: string | undefined; error: AgentError | undefined },
  signal: AbortSignal,
): Promise<never> {
  if (config !== undefined || !(thrown instanceof AgentError) || !isNoAgentListening(thrown)) throw thrown;
  const unit = await askServiceUnit(signal);
  throw unit === undefined ? (error ?? thrown) : withService(thrown, unit);
}

const ask = async (controlSocket: string, { signal }: World) =>
  (await askControlSocket(controlSocket, '/status', { signal })) as LocalStatus;

const exitStatus = ({ state }: LocalStatus) => (state === 'running' ? 0 : 1);

/** Repeats until the signal aborts, even while no agent is running. @returns the exit status of the last answer */
async function keepShowing(controlSocket: string, json: boolean, world: World): Promise<number> {
  const { signal, stdout, stderr, terminal } = world;
  let last = 1;
  while (!signal.aborted) {
    try {
      const answer = await ask(controlSocket, world);
      const [lines, exit] = understood(answer, controlSocket, (status) => [
        json ? [printableJson(JSON.stringify(status))] : describe(status),
        exitStatus(status),
      ]);
      last = exit;
      if (json) stdout(lines.join('\n'));
      else stdout([...(terminal ? [`${CLEAR}${systemClock.now().toISOString()}`, ''] : []), ...lines].join('\n'));
      if (!json && !terminal) stdout('');
    } catch (error) {
      if (signal.aborted) break;
      if (!(error instanceof AgentError)) throw error;
      last = 1;
      stderr(printable(error.message));
    }
    await world.written?.(); // of a reader that has stopped, all answers would wait in memory
    await systemClock.sleep(EVERY, signal);
  }
  return last;
}

function describe(status: LocalStatus): string[] {
  const { configuration, delivery, store, memory, pause, logLevel, restarts, exposed = {} } = status;
  const faults = Object.entries(configuration.errors).map(([name, message]) => `  error: ${name} ${message}`);
  const off = Object.entries(configuration.switchedOff ?? {}).map(([name, why]) => `  switched off: ${name}, ${why}`);
  const warnings = Object.entries(configuration.warnings).map(([name, message]) => `  warning: ${name} ${message}`);
  return [
    printable(verdict(status, systemClock.now())),
    '',
    ...table([
      ['agent', `${status.state}, version ${status.version}, since ${status.startedAt}, id ${status.agentId}`],
      ...(pause === undefined
        ? []
        : [['paused', `until ${pause.until}, ${counted(pause.skipped, 'event')} skipped: ${pause.reason}`]]),
      ...(logLevel === undefined
        ? []
        : [['log level', `${logLevel.level} until ${logLevel.until}, then ${logLevel.afterwards}`]]),
      ...(restarts.unclean === 0
        ? []
        : [
            [
              'restarts',
              `${restarts.unclean} unexpected exits since ${restarts.since}, the last run ${restarts.lastEnd}`,
            ],
          ]),
      ...Object.values(exposed).map((finding) => ['exposed', finding]),
      ...hubRows(status),
      [
        'configuration',
        `${configuration.source}${configuration.desiredVersion === undefined ? '' : `, desired version ${configuration.desiredVersion}`}`,
      ],
      ['memory', `${inMegabytes(memory.residentBytes)} of ${inMegabytes(memory.budgetBytes)} MB`],
      ['events', describeDelivery(delivery)],
      ...detectionRows(status.detections),
      ...baselineRows(status.posture),
      ...recommendationRows(status.posture),
      ...(store.place === 'disk'
        ? []
        : [
            ['store', `in memory: ${store.reason}`],
            ['', 'Make the disk writable; events in memory are lost if the agent exits before.'],
          ]),
      ...(store.unsaved === undefined
        ? []
        : [
            ['not saved', store.unsaved],
            ['', 'Make these files in the state directory writable; a restart uses their last saved contents.'],
          ]),
      ...(store.isNearlyFull
        ? [
            ['store', 'nearly full'],
            ['', `Restore the connection to the hub, or raise ${CACHE_SIZE}; the oldest events are dropped soon.`],
          ]
        : []),
      [
        'messages',
        `${delivery.messagesSent} sent, ${delivery.messagesFailed} failed attempts${delivery.lastSentAt === undefined ? '' : `, last at ${delivery.lastSentAt}`}`,
      ],
      ...budgetRows(delivery),
    ]),
    ...[...faults, ...warnings, ...off].map(printable),
    '',
    ...table([
      ['EVENT', 'STATE', 'SOURCE', 'COLLECTED', 'DELIVERED', 'QUEUED', 'REASON'],
      ...Object.entries(status.collectors).map(([name, { state, source = '', reason = '' }]) => {
        const { collected, delivered, queued } = status.events[name] ?? { collected: 0, delivered: 0, queued: 0 };
        return [name, state, source, String(collected), String(delivered), String(queued), reason];
      }),
    ]),
  ];
}

/** Explains refusals, since the agent seems idle for minutes. The remedy describes how a changed copy takes effect. */
const slow = ({ copies }: LocalStatus['hub']): string =>
  copies === undefined
    ? 'The agent retries after 1, 2, 5 and then every 10 minutes, and within 25 s when a file of its credential or proxy changes.'
    : 'The agent retries after 1, 2, 5 and then every 10 minutes.';

/** How the hub is reached, who the agent is to it, and what is wrong with either. */
function hubRows({ hub, credential }: LocalStatus): string[][] {
  const route = routeTo(credential);
  const { kind, source, expiresAt, expiresSoon, error } = credential;
  const isConnected = hub.state === 'connected';
  return [
    [
      'hub',
      hub.error === undefined ? `${hub.state}${route === '' ? '' : ` to ${route}`}` : `${hub.state}: ${hub.error}`,
    ],
    ...(hub.remedy === undefined ? [] : [['', hub.remedy]]),
    ...(hub.state === 'refused' && error?.id !== 'MODULE_UNKNOWN' ? [['', slow(hub)]] : []),
    ...(hub.error === undefined || route === '' ? [] : [['', `last tried: ${route}`]]),
    [
      'credential',
      [
        kind,
        ...(source === undefined ? [] : [source]),
        ...(expiresAt === undefined ? [] : [`valid until ${expiresAt}`]),
      ].join(', '),
    ],
    ...(expiresSoon ? [['', 'It expires soon and was not renewed.']] : []),
    ...(error === undefined || !isConnected
      ? []
      : [['', `connected, but no new connection can be made (${error.id}): ${hub.renewalError ?? error.reason}`]]),
    ...(hub.renewalRemedy === undefined ? [] : [['', hub.renewalRemedy]]),
  ];
}

function routeTo({ hub, transport, proxy }: LocalStatus['credential']): string {
  if (hub === undefined) return '';
  const by = transport === 'mqttWebSocket' ? ' by MQTT over WebSocket' : ' by MQTT';
  return `${hub}${transport === undefined ? '' : by}${proxy === undefined ? '' : `, through the proxy ${proxy}`}`;
}

function budgetRows({ unitsToday, unitsPerDay = 0, heldEvents, held, ...shares }: LocalStatus['delivery']): string[][] {
  if (unitsToday === undefined) return [];
  const { mostUsedBy, mostUnits = 0, overShare } = shares;
  const used = unitsPerDay === 0 ? inWords(unitsToday) : `${inWords(unitsToday)} of ${inWords(unitsPerDay)}`;
  const by = mostUsedBy === undefined ? '' : `: ${mostUsedBy} (${inWords(mostUnits)})`;
  return [
    ['', `${used} units today${by}`],
    ...(overShare === undefined
      ? []
      : [['waiting', `Low events of ${overShare}: the share of the message units is used up`]]),
    ...(held === undefined ? [] : [['held', `${held.queues}, ${heldEvents} events. ${held.reason}`]]),
  ];
}

/** `1,570`. */
const inWords = (count: number): string => count.toLocaleString('en-US');

/** Alerts, and everything that keeps matches from becoming one. */
function detectionRows(detections: LocalStatus['detections']): string[][] {
  if (detections === undefined) return [];
  const {
    state,
    reason,
    rules,
    alerts,
    suppressed,
    last,
    silencedUntil,
    exceptions = {},
    unusedExceptions,
  } = detections;
  const listed = (counts: Readonly<Record<string, number>>) =>
    Object.entries(counts)
      .filter(([, count]) => count > 0)
      .map(([name, count]) => `${count} ${name}`)
      .join(', ');
  const raised = listed(Object.fromEntries(Object.entries(alerts).reverse()));
  const kept = listed(suppressed);
  return [
    ['detections', `${state}, ${counted(rules.loaded, 'rule')}${offRules(rules.off)}`],
    ...(reason === undefined ? [] : [['', reason]]),
    ...(silencedUntil === undefined ? [] : [['silenced', `no alerts until ${silencedUntil}`]]),
    [
      'alerts',
      `${raised === '' ? 'none' : raised}${last === undefined ? '' : `, the last one ${last.type} at ${last.at} ("vakt alerts" shows them)`}`,
    ],
    ...(kept === '' ? [] : [['', `matches without an alert: ${kept}`]]),
    ...(Object.keys(exceptions).length === 0
      ? []
      : [
          [
            '',
            `exceptions: ${Object.entries(exceptions)
              .map(([id, count]) => `${id} (${count})`)
              .join(', ')}`,
          ],
        ]),
    ...(unusedExceptions === undefined ? [] : [['', `exceptions no longer used: ${unusedExceptions}`]]),
  ];
}

const offRules = (off: Readonly<Record<string, number>>): string =>
  Object.entries(off)
    .filter(([, count]) => count > 0)
    .map(([reason, count]) => `; ${count} off (${OFF_REASONS[reason as OffReason] ?? reason})`)
    .join('');

/** The result of the last scan, and every exception in force. */
function baselineRows({ baseline }: LocalStatus['posture']): string[][] {
  if (baseline === undefined) return [];
  const { passed, failed, errors, skipped, failedBySeverity, ruleSet, scannedAt } = baseline;
  const severities = Object.entries(failedBySeverity)
    .filter(([, count]) => count > 0)
    .map(([severity, count]) => `${count} ${severity}`);
  const ofThem = severities.length === 0 ? '' : ` (${severities.join(', ')})`;
  return [
    [
      'baseline',
      `${passed} passed, ${failed} failed${ofThem}, ${errors} not evaluated, ${skipped} skipped, at ${scannedAt}, rules ${ruleSet}`,
    ],
    ...(baseline.groupsDisabled === undefined ? [] : [['', `without the categories ${baseline.groupsDisabled}`]]),
    ...(baseline.checksDisabled === undefined ? [] : [['', `without the rules ${baseline.checksDisabled}`]]),
    ...(baseline.roles === undefined ? [] : [['', `for the roles ${baseline.roles}`]]),
    ...(baseline.customChecks === 'on' ? [['', 'with custom checks']] : []),
    ...(baseline.customChecks === 'refused' ? [['', `without custom checks: ${baseline.customChecksReason}`]] : []),
  ];
}

/** The most severe ones, by id. */
function recommendationRows({ recommendations = {} }: LocalStatus['posture']): string[][] {
  const bySeverity = SEVERITIES.flatMap((severity) => {
    const ids = RECOMMENDATION_IDS.filter((id) => recommendations[id]?.severity === severity);
    return ids.length === 0 ? [] : [`${severity}: ${ids.join(', ')}`];
  });
  return bySeverity.length === 0 ? [] : [['recommended', `${bySeverity.join('; ')} ("vakt posture" says what to do)`]];
}

const inMegabytes = (bytes: number) => Math.round(bytes / (1024 * 1024));
