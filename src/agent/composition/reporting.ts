import { randomPart } from '../../core/base/backoff.ts';
import type { Handler } from '../../core/base/control-socket.ts';
import type { Service } from '../../core/base/service.ts';
import { VERSION } from '../../core/base/version.ts';
import type { HubClient } from '../../core/contract/hub.ts';
import { collectors } from '../collectors/index.ts';
import { securityAlert } from '../collectors/security-alert.ts';
import { hashOfLocalFile } from '../config/local.ts';
import { StrictStart } from '../config/strict-start.ts';
import { type AlertHistory, latestAlerts } from '../detections/alerts/history.ts';
import { type KeptAlert, recordOf } from '../detections/alerts/kept-alert.ts';
import { alertPolicy } from '../detections/alerts/policy.ts';
import { silencedRules } from '../detections/alerts/silenced-rules.ts';
import { CredentialWatch } from '../hub/credential-watch.ts';
import { DirectMethods } from '../hub/methods.ts';
import { TwinSync } from '../hub/twin-sync.ts';
import { Lifeline } from '../lifeline.ts';
import { diagnostics } from '../methods/get-diagnostics.ts';
import { methods } from '../methods/index.ts';
import type { MethodParts } from '../methods/parts.ts';
import type { UnsavedFiles } from '../state/unsaved-files.ts';
import { localStatus, type Observed } from '../status/observe.ts';
import { EXPENDABLE, ReportedStatus } from '../status/reported.ts';
import type { LocalStatus } from '../status/schema.ts';
import type { CollectionParts } from './collection.ts';
import type { ConditionParts } from './condition.ts';
import type { Configuration } from './configuration.ts';
import type { DeliveryParts } from './delivery.ts';
import type { DetectionParts } from './detection.ts';
import type { Foundation } from './foundation.ts';
import { controlSocket, endOfRun, followHandler, metricsHandler } from './services.ts';
import type { Storage } from './storage.ts';

/** What those outside see of the agent and ask of it: the twin, direct methods, `vakt status`, the service manager. */
export interface ReportingParts {
  readonly controlSocket: Service;
  readonly directMethods: DirectMethods<MethodParts>;
  /** The complete current status. */
  readonly status: () => LocalStatus;
  readonly reported: ReportedStatus;
  /** Desired in, reported out. */
  readonly twin: TwinSync;
  readonly credentialWatch: CredentialWatch;
  readonly strictStart: StrictStart;
  readonly endOfRun: Service;
  /** Says that all of the agent has started, and that it lives. */
  readonly lifeline: Lifeline;
}

interface Reported {
  readonly hub: HubClient;
  readonly configuration: Configuration;
  readonly delivery: DeliveryParts;
  readonly condition: ConditionParts;
  readonly collection: CollectionParts;
  readonly detection: DetectionParts;
}

export function createReporting(
  foundation: Foundation,
  {
    secrets,
    storage: { stateFiles, unsaved },
    ...parts
  }: Reported & {
    storage: Storage;
    /** Strings that no answer to a direct method may contain. */
    secrets: () => readonly string[];
  },
): ReportingParts {
  const { local, clock, clockOf, watched, moving, logOf, stateChanged } = foundation;
  const { log, recent, manager, signal } = foundation.options;
  const { hub, condition, collection } = parts;
  const { configuration, settings } = parts.configuration;
  const { aggregator, publisher } = parts.delivery;
  let stopping = false;
  const observed = observedParts(foundation, { ...parts, unsaved, stopping: () => stopping });
  const methodParts: MethodParts = {
    now: () => clock.now(),
    status: () => localStatus(observed),
    takeNow: (events) => collection.snapshots.takeOnRequest(events),
    flush: (limit) => {
      aggregator.flush();
      return publisher.flush(limit);
    },
    pause: collection.pause,
    logLevel: condition.logLevel,
    recentLines: () => recent.all(),
    configuration: () => configuration.reported(),
    local,
    secrets,
  };
  const directMethods = new DirectMethods<MethodParts>({
    methods,
    permissions: local.directMethods,
    parts: methodParts,
    clock,
    log: logOf('methods'),
  });
  const reported = new ReportedStatus({
    observed,
    settings,
    clock: clockOf('status'),
    log: logOf('status'),
    firstPeriod: randomPart(),
    changed: stateChanged.notify,
  });
  const twin = new TwinSync({
    hub,
    apply: (desired) => configuration.apply(desired),
    reported: () => ({ ...configuration.reported(), securityAgent: reported.current() }),
    expendable: EXPENDABLE,
    clock: watched('twin'),
    log: logOf('twin'),
  });
  const credentialWatch = new CredentialWatch({
    status: () => hub.status(),
    changed: stateChanged.notify,
    clock: clockOf('credential'),
    log: logOf('credential'),
  });
  const strictStart = new StrictStart({
    verdict: configuration.verdict,
    startBlocker: () => hub.status().error,
    clock,
    signal,
  });
  const lifeline = new Lifeline({
    manager,
    moving,
    status: () => localStatus(observed),
    clock: clockOf('lifeline'),
    log: logOf('lifeline'),
  });
  stateChanged.on(() => {
    twin.changed();
    lifeline.changed();
  });
  return {
    controlSocket: controlSocket(
      local.controlSocket,
      {
        '/status': () => localStatus(observed),
        '/diagnostics': () => diagnostics(methodParts),
        '/metrics': metricsHandler(() => localStatus(observed)),
        '/follow': followHandler(collection.triggers),
        ...alertHandlers(parts.detection.alerts.history),
      },
      log,
    ),
    directMethods,
    status: () => localStatus(observed),
    reported,
    twin,
    credentialWatch,
    strictStart,
    endOfRun: endOfRun(() => {
      stopping = true;
      stateFiles.hurry();
      condition.runs.end();
      reported.takeFigures();
    }),
    lifeline,
  };
}

const observedParts = (
  { local, options, sender, bootId, clock }: Foundation,
  {
    hub,
    configuration: { configuration, settings, limits, nameOf },
    delivery: { queues, unsetClock, budget, chains, publisher, aggregator },
    condition: { memory, exposedFiles, runs, logLevel },
    detection: { detections, alerts, names, exceptionEffect },
    collection: { pause, baseline, snapshots, snapshotPosture, recommendations, linuxEvents },
    stopping,
    unsaved,
  }: Reported & { stopping: () => boolean; unsaved: UnsavedFiles },
): Observed => ({
  version: VERSION,
  agentId: sender.id,
  startedAt: () => unsetClock.startedAt,
  ...(bootId === undefined ? {} : { bootId }),
  localFileHash: hashOfLocalFile(options.files.configuration),
  settingWarnings: options.settingWarnings ?? [],
  stopping,
  collectors,
  settings: () => settings.current(),
  nameOf,
  limits,
  configuration: () => configuration.state(),
  lastRun: (event) => snapshots.lastRun(event),
  stream: (name) => linuxEvents.status(name),
  queues,
  unsaved,
  aggregator,
  sent: () => publisher.sent(),
  budget: () => budget.use(),
  chain: (marking) => chains[marking].id,
  memory,
  pause: () => pause.status(),
  restarts: () => runs.status(),
  exposed: () => exposedFiles.status(),
  baseline,
  detections: () => ({
    ...detections.status(),
    alerts: alerts.status(),
    warnings: names.warnings(),
    silencedRules: silencedRules(
      detections.rules,
      alertPolicy(settings.current()),
      exceptionEffect.silenced(settings.current().detectionsExceptions),
    ),
    latest: budget.areAlertsHeld ? latestAlerts(alerts.history.list()) : undefined,
  }),
  snapshotFacts: (isOn) => snapshotPosture.facts(isOn),
  recommendations,
  logLevel: () => logLevel.status(),
  hub: () => hub.status(),
  next: () => publisher.next(),
  routing: local.messageRouting,
  stall: () => clock.lastStall?.(),
});

/** As in the message of the alert, but with shorter command lines. */
const payloadOf = (alert: KeptAlert) => securityAlert.translate(recordOf(alert, new Date(alert.last)), NOTHING);

/** Nothing is looked up for an alert. */
const NOTHING = {
  newBatch: () => {},
  userName: () => undefined,
  containerId: () => undefined,
  started: () => ({ containerId: undefined, sha256: undefined }),
  interfaceName: () => undefined,
};

/** For `vakt alerts`: the last alerts, oldest first; and each new one and update, a JSON line each. */
export const alertHandlers = (history: AlertHistory): Readonly<Record<string, Handler>> => ({
  '/alerts': () => history.list().map(payloadOf),
  '/alerts/follow': (_query, response) => {
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    response.flushHeaders();
    const end = history.follow((alert) => {
      if (!response.writableNeedDrain) response.write(`${JSON.stringify(payloadOf(alert))}\n`);
    });
    response.on('close', end);
    return undefined;
  },
});
