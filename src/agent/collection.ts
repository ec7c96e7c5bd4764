import { sum } from '../base/counters.ts';
import { type Duration, milliseconds } from '../base/duration.ts';
import type { LogLine } from '../base/log.ts';
import { IsolatedScanner } from '../baseline/isolated-scanner.ts';
import { BaselineScans } from '../baseline/scans.ts';
import { collectors } from '../collectors/index.ts';
import type { Occurrences } from '../collectors/occurrences.ts';
import { securityAlert } from '../collectors/security-alert.ts';
import type { LeavesOut } from '../contract/collector.ts';
import { QUEUES } from '../contract/event.ts';
import { isRouted } from '../contract/message.ts';
import type { Sources } from '../contract/sources.ts';
import { LinuxEvents } from '../linux/events.ts';
import { hasIpv6 } from '../linux/machine/interfaces.ts';
import type { linuxSources } from '../linux/sources.ts';
import { ChangeNotices } from '../pipeline/notices.ts';
import { Pause } from '../pipeline/pause.ts';
import { URGENT_WITHIN } from '../pipeline/publisher.ts';
import { Snapshots } from '../pipeline/snapshots.ts';
import { Triggers } from '../pipeline/triggers.ts';
import { Recommendations } from '../posture/recommendations.ts';
import { SnapshotPosture } from '../posture/snapshot-posture.ts';
import type { ConditionParts } from './condition.ts';
import type { Configuration } from './configuration.ts';
import type { DeliveryParts } from './delivery.ts';
import type { Foundation } from './foundation.ts';
import { alertsAsDiagnostics } from './services.ts';
import type { Storage } from './storage.ts';

/** Where events come from. */
export interface CollectionParts {
  readonly pause: Pause;
  readonly triggers: Triggers;
  readonly changeNotices: ChangeNotices;
  readonly baseline: BaselineScans;
  /** Of the snapshots. */
  readonly sources: Sources;
  /** Periodic collectors. */
  readonly snapshots: Snapshots;
  /** What the snapshots say about the system. */
  readonly snapshotPosture: SnapshotPosture;
  readonly recommendations: Recommendations;
  /** Triggered collectors. */
  readonly linuxEvents: LinuxEvents;
}

export function createCollection(
  foundation: Foundation,
  {
    linux,
    occurrences,
    storage,
    configuration: { configuration, settings, nameOf, changed },
    delivery,
    condition: { memory, exposedFiles },
  }: {
    linux: ReturnType<typeof linuxSources>;
    occurrences: Occurrences;
    storage: Storage;
    configuration: Configuration;
    delivery: DeliveryParts;
    condition: ConditionParts;
  },
): CollectionParts {
  const { local, sender, bootId, state, clock, clockOf, watched, moving, logOf } = foundation;
  const { stateChanged, collectingResumed } = foundation;
  const { queues, unsetClock, timed, aggregator, publisher, statistics } = delivery;
  const pause = new Pause({
    file: state('pause.json'),
    skipped: () => sum(QUEUES.map((queue) => queues.account(queue).totals)).dropped.paused ?? 0,
    clock,
    log: logOf('pause'),
    files: storage.stateFiles,
    changed: () => {
      collectingResumed.notify();
      stateChanged.notify();
    },
    announce: (pause) =>
      changeNotices.accept({
        time: clock.now(),
        desiredVersion: configuration.state().desiredVersion ?? 0,
        changes: { pause },
      }),
  });
  const leavesOut: LeavesOut = (collector, priority) => {
    // Whoever pauses for an update is told of an attack nevertheless.
    if (collector.name !== securityAlert.name && pause.skips(collector)) return 'paused';
    return memory.leavesOut(collector, priority) === undefined ? undefined : 'memory';
  };
  const routed = collectors.filter((collector) => isRouted(local.messageRouting, collector));
  const triggers = new Triggers({
    collectors: routed,
    settings,
    aggregator: unsetClock.before(aggregator),
    queues: timed,
    origin: `${sender.id} ${bootId ?? ''}`,
    leavesOut,
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
  const linuxEvents = new LinuxEvents({
    containerOf: (pid) => linux.lookups.containerId(pid, 0),
    streams: () => occurrences.streams(),
    sink: occurrences,
    hostRoot: local.hostRoot,
    loopback: local.collectors.loopbackConnections,
    stateDirectory: local.stateDirectory,
    writer: storage.writer,
    clock: clockOf('linux'),
    log: logOf('linux'),
    changed: stateChanged.notify,
  });
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
  snapshots.offerTo(snapshotPosture);
  const recommendations = new Recommendations({
    file: state('recommendations.json'),
    files: storage.stateFiles,
    clock,
    log: logOf('posture'),
  });
  collectingResumed.on(() => snapshots.catchUp());
  moving.events = linuxEvents;
  return {
    pause,
    triggers,
    changeNotices,
    baseline,
    sources,
    snapshots,
    snapshotPosture,
    recommendations,
    linuxEvents,
  };
}
