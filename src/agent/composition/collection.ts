import { sum } from '../../core/base/counters.ts';
import { type Duration, milliseconds } from '../../core/base/duration.ts';
import type { LogLine } from '../../core/base/log.ts';
import type { Collector, LeavesOut } from '../../core/contract/collector.ts';
import { QUEUES } from '../../core/contract/event.ts';
import { isRouted } from '../../core/contract/message.ts';
import type { Sources } from '../../core/contract/sources.ts';
import type { AuditFlood } from '../../core/contract/streams.ts';
import { IsolatedScanner } from '../baseline/isolated-scanner.ts';
import { BaselineScans } from '../baseline/scans.ts';
import { collectors } from '../collectors/index.ts';
import type { Occurrences } from '../collectors/occurrences.ts';
import { securityAlert } from '../collectors/security-alert.ts';
import { LinuxEvents } from '../linux/events.ts';
import { hasIpv6 } from '../linux/machine/interfaces.ts';
import type { linuxSources } from '../linux/sources.ts';
import { ChangeNotices } from '../pipeline/notices.ts';
import { Pause } from '../pipeline/pause.ts';
import { URGENT_WITHIN } from '../pipeline/publisher.ts';
import { Snapshots } from '../pipeline/snapshots.ts';
import { Triggers } from '../pipeline/triggers.ts';
import { PostureUpdates } from '../posture/posture-updates.ts';
import { Recommendations } from '../posture/recommendations.ts';
import { SnapshotPosture } from '../posture/snapshot-posture.ts';
import { Notifier } from '../state/notifier.ts';
import type { ConditionParts } from './condition.ts';
import type { Configuration } from './configuration.ts';
import type { DeliveryParts } from './delivery.ts';
import type { Foundation } from './foundation.ts';
import { alertsAsDiagnostics } from './services.ts';
import type { Storage } from './storage.ts';

/** Components that turn occurrences into events. */
interface TriggeredParts {
  readonly triggers: Triggers;
  readonly changeNotices: ChangeNotices;
  /** Users who flood audit. */
  readonly auditFloods: Notifier<AuditFlood>;
  /** Triggered collectors. */
  readonly linuxEvents: LinuxEvents;
}

/** Components that turn the system's state into events. */
interface PeriodicParts {
  readonly baseline: BaselineScans;
  /** Lets the snapshots run. */
  readonly sources: Sources;
  /** Periodic collectors. */
  readonly snapshots: Snapshots;
  /** What the snapshots say about the system. */
  readonly snapshotPosture: SnapshotPosture;
  readonly postureUpdates: PostureUpdates;
  readonly recommendations: Recommendations;
}

/** Where events come from. */
export interface CollectionParts extends TriggeredParts, PeriodicParts {
  readonly pause: Pause;
}

interface Options {
  readonly linux: ReturnType<typeof linuxSources>;
  readonly occurrences: Occurrences;
  readonly storage: Storage;
  readonly configuration: Configuration;
  readonly delivery: DeliveryParts;
  readonly condition: ConditionParts;
}

/** The collectors whose events may be sent, and what leaves out their events for now. */
interface Collected {
  readonly routed: readonly Collector[];
  readonly leavesOut: LeavesOut;
}

export function createCollection(foundation: Foundation, options: Options): CollectionParts {
  const { local, state, clock, logOf, stateChanged, collectingResumed } = foundation;
  const { storage, configuration, delivery, condition } = options;
  const pause = new Pause({
    file: state('pause.json'),
    skipped: () => sum(QUEUES.map((queue) => delivery.queues.account(queue).totals)).dropped.paused ?? 0,
    clock,
    log: logOf('pause'),
    files: storage.stateFiles,
    changed: () => {
      collectingResumed.notify();
      stateChanged.notify();
    },
    announce: (pause) =>
      triggered.changeNotices.accept({
        time: clock.now(),
        desiredVersion: configuration.configuration.state().desiredVersion ?? 0,
        changes: { pause },
      }),
  });
  const leavesOut: LeavesOut = (collector, priority) => {
    // Alerts are sent even while collecting is paused, for example for an update.
    if (collector.name !== securityAlert.name && pause.skips(collector)) return 'paused';
    return condition.memory.leavesOutAll(collector, priority) ? 'memory' : undefined;
  };
  const routed = collectors.filter((collector) => isRouted(local.messageRouting, collector));
  const triggered = createTriggered(foundation, options, { routed, leavesOut });
  const periodic = createPeriodic(foundation, options, { routed, leavesOut });
  return { pause, ...triggered, ...periodic };
}

function createTriggered(
  { local, options, sender, bootId, state, clock, clockOf, moving, logOf, stateChanged }: Foundation,
  { linux, occurrences, storage, configuration: { settings, changed }, delivery, condition }: Options,
  { routed, leavesOut }: Collected,
): TriggeredParts {
  const { queues, unsetClock, timed, aggregator, publisher } = delivery;
  const triggers = new Triggers({
    collectors: routed,
    settings,
    aggregator: unsetClock.before(aggregator),
    queues: timed,
    origin: `${sender.id} ${bootId ?? ''}`,
    leavesOut,
    leavesOutOwner: (...event) => condition.memory.leavesOutOwner(...event),
    load: condition.load,
    log: logOf('triggers'),
  });
  const announce = (line: LogLine) => {
    let position: number | undefined;
    for (const batch of occurrences.translate('log', [line])) position = triggers.announce(batch);
    return position;
  };
  occurrences.offerTo(triggers);
  if (!isRouted(local.messageRouting, securityAlert)) {
    const { diagnosticEventLevel } = local.logging;
    occurrences.offerTo(alertsAsDiagnostics({ settings, level: diagnosticEventLevel, announce }));
  }
  // By the shorter of the frequencies before and after the change, so that a change can't delay its own event.
  let noticesWithin: Duration = URGENT_WITHIN;
  settings.onChange((before) => {
    noticesWithin = milliseconds(Math.min(before.highPriorityMessageFrequency, URGENT_WITHIN));
  });
  const changeNotices = new ChangeNotices({
    announce: (line) => {
      const position = announce(line);
      publisher.sendHighWithin(noticesWithin);
      return position;
    },
    isWaiting: (position) => queues.isWaiting('High', position),
    file: state('change-notices.json'),
    files: storage.stateFiles,
    clock,
    log: logOf('notices'),
  });
  changed.on((change) => changeNotices.accept(change));
  publisher.onDelivered((queue, positions) => {
    if (queue === 'High') changeNotices.delivered(positions);
  });
  const auditFloods = new Notifier<AuditFlood>();
  const linuxEvents = new LinuxEvents({
    backlogWait: local.audit.backlogWait,
    flooded: auditFloods.notify,
    containerOf: (pid) => linux.lookups.containerId(pid, 0),
    streams: () => occurrences.streams(),
    sink: occurrences,
    hostRoot: local.hostRoot,
    loopback: local.collectors.loopbackConnections,
    stateDirectory: local.stateDirectory,
    yieldsToAgent: options.dryHub !== undefined,
    writer: storage.writer,
    clock: clockOf('linux'),
    log: logOf('linux'),
    changed: stateChanged.notify,
  });
  moving.events = linuxEvents;
  return { triggers, changeNotices, auditFloods, linuxEvents };
}

function createPeriodic(
  { local, state, clock, clockOf, watched, logOf, stateChanged, collectingResumed }: Foundation,
  { linux, occurrences, storage, configuration: { settings, nameOf }, delivery, condition: { exposedFiles } }: Options,
  { routed, leavesOut }: Collected,
): PeriodicParts {
  const { timed, publisher, statistics } = delivery;
  const baseline = new BaselineScans({
    scanner: new IsolatedScanner({
      reader: linux.reader,
      hostRoot: local.hostRoot,
      firewall: linux.snapshots.firewall,
      clock,
      log: logOf('baseline'),
    }),
    settings,
    onFaults: (faults) =>
      occurrences.accept(
        'configuration',
        faults.map(({ setting, ...fault }) => ({ name: nameOf(setting), ...fault })),
      ),
    clock: clockOf('baseline'),
    log: logOf('baseline'),
  });
  const sources = { ...linux.snapshots, baseline, statistics: statistics.source };
  const snapshots = new Snapshots({
    collectors: routed,
    sources,
    settings,
    queues: timed,
    leavesOut,
    bytesPerDay: (queue) => publisher.bytesPerDay(queue),
    clock: watched('snapshots'),
    log: logOf('snapshots'),
    changed: () => {
      void exposedFiles.look();
      stateChanged.notify();
    },
  });
  const snapshotPosture = new SnapshotPosture({
    baseline: () => baseline.posture(),
    hasIpv6,
    isCollected(event) {
      const priority = settings.current().priorities[event] ?? 'Off';
      return routed.some(
        (each) => each.name === event && priority !== 'Off' && leavesOut(each, priority) === undefined,
      );
    },
    log: logOf('posture'),
  });
  const postureUpdates = new PostureUpdates({
    posture: snapshotPosture,
    clock: clockOf('posture'),
    log: logOf('posture'),
    changed: stateChanged.notify,
  });
  snapshots.offerTo(postureUpdates);
  const recommendations = new Recommendations({
    file: state('recommendations.json'),
    files: storage.stateFiles,
    clock,
    log: logOf('posture'),
  });
  collectingResumed.on(() => snapshots.catchUp());
  return { baseline, sources, snapshots, snapshotPosture, postureUpdates, recommendations };
}
