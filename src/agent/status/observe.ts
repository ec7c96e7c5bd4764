import type { Stall } from '../../core/base/clock.ts';
import { sum } from '../../core/base/counters.ts';
import { usedCopies } from '../../core/base/credential-copies.ts';
import { describeStall } from '../../core/base/stall-clock.ts';
import type { ChangedLogLevel } from '../../core/base/temporary-log-level.ts';
import type { Collector } from '../../core/contract/collector.ts';
import { QUEUES, type QueueName } from '../../core/contract/event.ts';
import type { HubStatus } from '../../core/contract/hub.ts';
import { isRouted, type Marking, markingsOf, type Routing } from '../../core/contract/message.ts';
import type { NameOfSetting, SettingId, Settings } from '../../core/contract/settings.ts';
import type { MessageStatistics, SourceStatus } from '../../core/contract/sources.ts';
import type { StreamName } from '../../core/contract/streams.ts';
import { type BlindSpots, blindSpots, type Limits, NO_LIMITS } from '../../core/twin/limits.ts';
import type { BaselineScans } from '../baseline/scans.ts';
import type { ConfigurationState } from '../config/twin-configuration.ts';
import type { Exposed } from '../linux/self/exposed-files.ts';
import type { Aggregator } from '../pipeline/aggregator.ts';
import type { MemoryLimit } from '../pipeline/memory-limit.ts';
import type { BudgetUse } from '../pipeline/message-budget.ts';
import type { PauseStatus } from '../pipeline/pause.ts';
import type { Sent } from '../pipeline/publisher.ts';
import type { EventQueues } from '../pipeline/queue.ts';
import type { LastRun } from '../pipeline/snapshots.ts';
import { assessmentsOf, type SnapshotFacts } from '../posture/evaluate.ts';
import type { Recommendations } from '../posture/recommendations.ts';
import type { Restarts } from '../state/runs.ts';
import type { UnsavedFiles } from '../state/unsaved-files.ts';
import type { CollectorStatus, Delivery, EventAccount, LocalStatus, Posture, SecurityAgentStatus } from './schema.ts';
import { agentFacts, detectionsStatus, type ObservedDetections, postureSections } from './sections.ts';

/** The parts whose state makes up the status. */
export interface Observed {
  readonly version: string;
  readonly agentId: string;
  readonly startedAt: () => Date;
  readonly bootId?: string;
  /** Empty: there is no local file. */
  readonly localFileHash: string;
  readonly stopping: () => boolean;
  /** About names in the local file that are not settings. */
  readonly settingWarnings?: readonly string[];
  readonly collectors: readonly Collector[];
  readonly settings: () => Settings;
  readonly nameOf: NameOfSetting;
  /** If omitted, no setting of the module twin is limited. */
  readonly limits?: Limits;
  readonly configuration: () => ConfigurationState;
  readonly lastRun: (event: string) => LastRun | undefined;
  /** Status of the source of a stream. */
  readonly stream: (name: StreamName) => SourceStatus;
  readonly queues: Pick<EventQueues, 'account' | 'waiting' | 'store'>;
  /** Files of state that could not be saved, and why. */
  readonly unsaved?: Pick<UnsavedFiles, 'describe'>;
  readonly aggregator: Pick<Aggregator, 'pending'>;
  readonly sent: () => Sent;
  /** If omitted, messages are not limited. */
  readonly budget?: () => BudgetUse;
  /** The id of a marking's chain of messages. If omitted, messages have no numbers. */
  readonly chain?: (marking: Marking) => string;
  readonly memory: Pick<MemoryLimit, 'use' | 'leavesOut'>;
  readonly pause: () => PauseStatus | undefined;
  readonly restarts: () => Restarts;
  readonly exposed: () => Exposed;
  readonly baseline: Pick<BaselineScans, 'posture' | 'warnings'>;
  /** What the snapshots say, see SnapshotPosture. */
  readonly snapshotFacts: (isOn: (event: string) => boolean) => SnapshotFacts;
  readonly recommendations: Pick<Recommendations, 'update'>;
  /** If omitted, this agent has no detections. */
  readonly detections?: () => ObservedDetections;
  readonly logLevel: () => ChangedLogLevel | undefined;
  readonly hub: () => HubStatus;
  readonly next?: () => Partial<Readonly<Record<QueueName, Date>>>;
  readonly routing?: Routing;
  readonly stall?: () => Stall | undefined;
}

/** The complete current status. */
export function localStatus(observed: Observed): LocalStatus {
  const collectors = Object.fromEntries(observed.collectors.map((c) => [c.name, collectorStatus(c, observed)]));
  const snapshots = postureIn(observed);
  const assessing = observed.detections?.();
  const blind = withSilence(blindness(observed, snapshots), assessing, observed);
  const configuration = configurationState(observed, snapshots, blind, assessing);
  const delivery = deliveryOf(observed);
  const hub = observed.hub();
  const posture = { ...snapshots, ...recommended(observed, { configuration, collectors, hub }) };
  const unsaved = observed.unsaved?.describe();
  const store = { ...observed.queues.store(), ...(unsaved === undefined ? {} : { unsaved }) };
  const memory = observed.memory.use();
  const exposed = observed.exposed();
  const detections = assessing === undefined ? undefined : detectionsStatus(assessing);
  const isExposed = Object.keys(exposed).length > 0;
  const isDegraded =
    Object.values(collectors).some(({ state }) => state === 'degraded' || state === 'unavailable') ||
    Object.keys(configuration.errors).length > 0 ||
    Object.keys(blind.degrading).length > 0 ||
    delivery.held !== undefined ||
    delivery.overShare !== undefined ||
    store.place === 'memory' ||
    store.isNearlyFull ||
    unsaved !== undefined ||
    memory.isOver ||
    detections?.state === 'degraded' ||
    isExposed ||
    hub.credential.expiresSoon === true || // after expiry, the agent can no longer report it
    hub.credential.error !== undefined ||
    hub.state === 'refused';
  const pause = observed.pause();
  const logLevel = observed.logLevel();
  return {
    version: observed.version,
    agentId: observed.agentId,
    pid: process.pid,
    localFileHash: observed.localFileHash,
    state: observed.stopping() ? 'stopping' : pause !== undefined ? 'paused' : isDegraded ? 'degraded' : 'running',
    startedAt: observed.startedAt().toISOString(),
    ...(observed.bootId === undefined ? {} : { bootId: observed.bootId }),
    configuration,
    collectors,
    delivery,
    store,
    credential: credentialOf(hub),
    ...(pause === undefined ? {} : { pause }),
    restarts: observed.restarts(),
    ...(isExposed ? { exposed } : {}),
    ...(detections === undefined ? {} : { detections }),
    posture,
    hub: connectionOf(hub),
    events: accountsByEvent(observed),
    messages: messagesOf(observed.sent()),
    memory,
    ...(logLevel === undefined ? {} : { logLevel }),
    ...nextMessages(observed, delivery),
    ...(observed.routing === undefined ? {} : { routing: observed.routing }),
    ...heldUp(observed.stall?.()),
    queues: { High: observed.queues.account('High').totals, Low: observed.queues.account('Low').totals },
  };
}

function credentialOf({ credential }: HubStatus): LocalStatus['credential'] {
  const { expiresAt, error, ...rest } = credential;
  return {
    ...rest,
    ...(expiresAt === undefined ? {} : { expiresAt: expiresAt.toISOString() }),
    ...(error === undefined ? {} : { error: { code: error.code, reason: error.reason, id: error.id } }),
  };
}

function connectionOf({ state, error, credential }: HubStatus): LocalStatus['hub'] {
  const renewal = state === 'connected' ? credential.error : undefined;
  const copies = usedCopies();
  return {
    state,
    ...(error === undefined ? {} : { error: error.message, id: error.id, remedy: error.remedy }),
    ...(renewal === undefined ? {} : { renewalError: renewal.message, renewalRemedy: renewal.remedy }),
    ...(Object.keys(copies).length === 0 ? {} : { copies }),
  };
}

function nextMessages({ next }: Observed, { held }: Delivery): Pick<LocalStatus, 'next'> {
  const { High, Low } = next?.() ?? {};
  if (High === undefined || Low === undefined) return {};
  const notHeld = (queue: QueueName, at: Date) => {
    const until = held?.queues.split(', ').includes(queue) ? Date.parse(held.until) : 0;
    return new Date(Math.max(at.getTime(), until)).toISOString();
  };
  return { next: { highAt: notHeld('High', High), lowAt: notHeld('Low', Low) } };
}

const heldUp = (stall: Stall | undefined): Pick<LocalStatus, 'heldUp'> =>
  stall === undefined
    ? {}
    : {
        heldUp: {
          seconds: Math.round(stall.length / 1_000),
          at: stall.at.toISOString(),
          why: describeStall(stall),
        },
      };

const isOnIn =
  ({ settings }: Observed) =>
  (event: string) =>
    (settings().priorities[event] ?? 'Off') !== 'Off';

/** The posture that the snapshots show, and the recommendations. */
function recommended(
  observed: Observed,
  own: Pick<LocalStatus, 'configuration' | 'collectors'> & { hub: HubStatus },
): Posture {
  const snapshots = observed.snapshotFacts(isOnIn(observed));
  const assessments = assessmentsOf({ ...snapshots, ...agentFacts(own, observed.collectors) });
  return { ...postureSections(snapshots), ...observed.recommendations.update(assessments) };
}

/** Results of the last snapshots. Results of a collector that is `Off` are outdated and omitted. */
function postureIn(observed: Observed): Posture {
  const isOn = isOnIn(observed);
  const baseline = isOn('OSBaseline') ? observed.baseline.posture() : undefined;
  const listeningPorts = isOn('ListeningPorts') ? observed.lastRun('ListeningPorts')?.elements : undefined;
  return {
    ...(baseline === undefined ? {} : { baseline }),
    ...(listeningPorts === undefined ? {} : { listeningPorts }),
  };
}

const DISABLING = [
  ['groupsDisabled', 'baselineGroupsDisabled'],
  ['checksDisabled', 'baselineChecksDisabled'],
] as const;

/** What the configuration disables or delays. Whether any rule of OSBaseline is left is known from the last scan. */
function blindness({ settings, limits = NO_LIMITS, collectors, nameOf }: Observed, { baseline }: Posture): BlindSpots {
  const spots = blindSpots(settings(), limits, collectors, nameOf);
  const isAssessed = baseline === undefined || baseline.passed + baseline.failed + baseline.errors > 0;
  const disabling = DISABLING.find(([exception]) => baseline?.[exception] !== undefined);
  if (isAssessed || disabling === undefined) return spots;
  const property = nameOf(disabling[1]);
  const warning = { [property]: 'leaves no rule of OSBaseline to be assessed' };
  return {
    switchedOff: { ...spots.switchedOff, OSBaseline: `${property} leaves no rule to be assessed` },
    ...(limits.mayBeOff.has('OSBaseline')
      ? { degrading: spots.degrading, late: { ...spots.late, ...warning } }
      : { degrading: { ...spots.degrading, ...warning }, late: spots.late }),
  };
}

/** Adds whether alerts are silenced, for a time or by rules: an attack would stay undetected. */
function withSilence(
  spots: BlindSpots,
  assessing: ObservedDetections | undefined,
  { limits = NO_LIMITS, nameOf }: Observed,
): BlindSpots {
  if (assessing === undefined || !assessing.isEnabled) return spots;
  const found = silence(assessing);
  if (found === undefined) return spots;
  const { setting, effect, isGrave } = found;
  const property = nameOf(setting);
  const reason = `${effect}, and limits.mayBeOff of the local configuration does not list SecurityAlert`;
  return {
    ...spots,
    switchedOff: { ...spots.switchedOff, detections: `${property} ${effect}` },
    degrading:
      isGrave && !limits.mayBeOff.has('SecurityAlert')
        ? joined([spots.degrading, { [property]: reason }])
        : spots.degrading,
  };
}

/**
 * Why rules of level high or critical raise no alerts. A single rule may be off for a good reason, half of them not. A rule that
 * exceptions silence looks as if it were on.
 */
function silence({ alerts: { silencedUntil }, silencedRules }: ObservedDetections) {
  if (silencedUntil !== undefined)
    return { setting: 'detectionsSilencedUntil', effect: `is ${silencedUntil}`, isGrave: true } as const;
  if (silencedRules === undefined) return undefined;
  const { setting, silenced, all, byExceptions } = silencedRules;
  const left = silenced === all ? 'no rule' : `${all - silenced} of ${all} rules`;
  const effect = `leaves ${left} of level high or critical`;
  return { setting, effect, isGrave: byExceptions > 0 || silenced * 2 >= all };
}

/** The state of the configuration, with warnings of the last scan and of what the configuration hides. */
function configurationState(
  { configuration, baseline, nameOf, settingWarnings = [] }: Observed,
  posture: Posture,
  { switchedOff, degrading, late }: BlindSpots,
  assessing: ObservedDetections | undefined,
): SecurityAgentStatus['configuration'] {
  const state = configuration();
  const warnings = { ...(posture.baseline === undefined ? {} : baseline.warnings()), ...assessing?.warnings };
  const found = Object.fromEntries(
    (Object.entries(warnings) as [SettingId, string][]).map(([setting, warning]) => [nameOf(setting), warning]),
  );
  return {
    ...state,
    warnings: joined([state.warnings, found, late, degrading, ...settingWarnings.map((localFile) => ({ localFile }))]),
    ...(Object.keys(switchedOff).length === 0 ? {} : { switchedOff }),
  };
}

/** Joins the messages about the same property. Names are untrusted: `__proto__` is possible. */
function joined(all: readonly Readonly<Record<string, string>>[]): Record<string, string> {
  const result = new Map<string, string>();
  for (const [name, message] of all.flatMap((some) => Object.entries(some))) {
    const before = result.get(name);
    result.set(name, before === undefined ? message : `${before}; ${message}`);
  }
  return Object.fromEntries(result);
}

function collectorStatus(collector: Collector, observed: Observed): CollectorStatus {
  const priority = observed.settings().priorities[collector.name] ?? 'Off';
  if (priority === 'Off') {
    if ((observed.limits ?? NO_LIMITS).mayBeOff.has(collector.name)) return { state: 'off' };
    const property = observed.nameOf(`priorities.${collector.name}`);
    return { state: 'off', reason: `${property} is Off in the module twin, see limits.mayBeOff.` };
  }
  if (observed.routing !== undefined && !isRouted(observed.routing, collector))
    return { state: 'off', reason: NOT_ROUTED };
  const status = sourceState(collector, observed);
  const held = observed.budget?.().held;
  const heldFor = held?.queues.split(', ').includes(priority) ? held.reason : undefined;
  const reason = observed.memory.leavesOut(collector, priority) ?? heldFor;
  return reason === undefined || status.state === 'unavailable' ? status : { ...status, state: 'degraded', reason };
}

const NOT_ROUTED =
  'Not in the published contract, so that messages for the security service may not contain it. Set messageRouting to "telemetry" or "both".';

function sourceState(collector: Collector, observed: Observed): CollectorStatus {
  if (collector.category === 'Triggered') return observed.stream(collector.stream);
  const run = observed.lastRun(collector.name);
  if (run === undefined) return { state: 'on' };
  const lastRunAt = run.at.toISOString();
  if (run.problem !== undefined) return { state: 'unavailable', reason: run.problem, lastRunAt };
  return { state: 'on', ...run.source, lastRunAt };
}

function deliveryOf({ queues, aggregator, sent, budget, chain, routing }: Observed): Delivery {
  const all = QUEUES.map((queue) => queues.account(queue).totals);
  const { collected, delivered, aggregatedAway, dropped } = sum(all);
  const pending = QUEUES.flatMap((queue) => Object.values(aggregator.pending(queue)));
  const occurrences = pending.reduce((total, window) => total + window.occurrences, 0);
  const elements = pending.reduce((total, window) => total + window.elements, 0);
  const { sent: messagesSent, failed: messagesFailed, lastSentAt, lastError } = sent();
  return {
    queued: {
      ...queued('high', 'High', queues, aggregator),
      ...queued('low', 'Low', queues, aggregator),
    } as Delivery['queued'],
    collected: collected + occurrences,
    delivered,
    aggregatedAway: aggregatedAway + occurrences - elements,
    dropped,
    messagesSent,
    messagesFailed,
    ...(lastSentAt === undefined ? {} : { lastSentAt: lastSentAt.toISOString() }),
    ...(lastError === undefined ? {} : { lastError: lastError.message }),
    ...budgetOf(budget?.(), queues),
    ...(chain === undefined || routing === undefined ? {} : chainsOf(chain, routing)),
  };
}

function chainsOf(chain: (marking: Marking) => string, routing: Routing): Pick<Delivery, 'chain' | 'markedChain'> {
  const markings = markingsOf(routing);
  return {
    ...(markings.includes('telemetry') ? { chain: chain('telemetry') } : {}),
    ...(markings.includes('security') ? { markedChain: chain('security') } : {}),
  };
}

function budgetOf(use: BudgetUse | undefined, queues: Observed['queues']): Partial<Delivery> {
  if (use?.held === undefined) return use ?? {};
  const { queues: held } = use.held;
  const heldEvents = QUEUES.filter((queue) => held.includes(queue))
    .map((queue) => queues.waiting(queue).elements)
    .reduce((all, elements) => all + elements, 0);
  return { ...use, heldEvents };
}

/** Waiting events: in the queue, and in aggregation windows, which are queued when they close. */
function queued(prefix: string, queue: QueueName, queues: Observed['queues'], aggregator: Observed['aggregator']) {
  const { elements, bytes } = queues.waiting(queue);
  const windows = Object.values(aggregator.pending(queue)).reduce((all, window) => all + window.elements, 0);
  return { [`${prefix}Events`]: elements + windows, [`${prefix}Bytes`]: bytes };
}

/** Accounts by event, over both queues. */
function accountsByEvent({ queues, aggregator }: Observed): Record<string, EventAccount> {
  const result: Record<string, EventAccount> = {};
  for (const queue of QUEUES) {
    for (const [name, row] of Object.entries(queues.account(queue).byEvent)) {
      const before = result[name];
      const merged = before === undefined ? sum([row]) : sum([row, before]);
      result[name] = { ...merged, queued: row.queued + (before?.queued ?? 0) };
    }
    for (const [name, { occurrences, elements }] of Object.entries(aggregator.pending(queue))) {
      const row = result[name] ?? { collected: 0, delivered: 0, aggregatedAway: 0, queued: 0, dropped: {} };
      result[name] = {
        ...row,
        collected: row.collected + occurrences,
        aggregatedAway: row.aggregatedAway + occurrences - elements,
        queued: row.queued + elements,
      };
    }
  }
  return result;
}

const messagesOf = ({ sent, under4KB, failed }: Sent): MessageStatistics => ({ sent, under4KB, failed });
