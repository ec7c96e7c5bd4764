import { milliseconds } from '../../core/base/duration.ts';
import type { Service } from '../../core/base/service.ts';
import type { Lookups } from '../../core/contract/lookups.ts';
import { ruleLists } from '../../core/contract/settings.ts';
import { collectors } from '../collectors/index.ts';
import type { Occurrences } from '../collectors/occurrences.ts';
import { AlertTimes } from '../detections/alerts/alert-times.ts';
import { Alerts } from '../detections/alerts/alerts.ts';
import { ExceptionEffect } from '../detections/alerts/exception-effect.ts';
import { alertPolicy } from '../detections/alerts/policy.ts';
import { RuleNames } from '../detections/alerts/rule-names.ts';
import { SavedState } from '../detections/alerts/saved-state.ts';
import { builtInRules } from '../detections/built-in.ts';
import { CompiledFiles } from '../detections/compiled-files.ts';
import { Detections, type RuleSet } from '../detections/detections.ts';
import { RuleLoader } from '../detections/rule-loader.ts';
import { hostFacts } from '../linux/processes/host-facts.ts';
import { SourceWatch } from '../pipeline/source-watch.ts';
import type { LocalStatus } from '../status/schema.ts';
import type { CollectionParts } from './collection.ts';
import type { Configuration } from './configuration.ts';
import type { DeliveryParts } from './delivery.ts';
import type { Foundation } from './foundation.ts';
import type { Storage } from './storage.ts';

/** Components that evaluate the events on the device. */
export interface DetectionParts {
  readonly detections: Detections;
  readonly alerts: Alerts;
  readonly names: RuleNames;
  readonly exceptionEffect: ExceptionEffect;
  /** In the order of their start: what was known before the last stop comes first. */
  readonly services: readonly Service[];
  /** Shows the detections and the posture what changes between the rounds of snapshots. */
  readonly sourceWatch: Service;
}

/** @throws Error the package lacks its rules */
export function createDetection(
  foundation: Foundation,
  {
    occurrences,
    lookups,
    storage,
    configuration: { settings, nameOf },
    delivery: { publisher, queues },
    collection: { triggers, snapshots, sources, postureUpdates, linuxEvents, auditFloods, pause },
    status,
  }: {
    occurrences: Occurrences;
    lookups: Pick<Lookups, 'userName'>;
    storage: Storage;
    configuration: Configuration;
    delivery: DeliveryParts;
    collection: CollectionParts;
    status: () => LocalStatus;
  },
): DetectionParts {
  const { local, sender, clockOf, logOf, state, stateChanged } = foundation;
  const clock = clockOf('detections');
  const log = logOf('detections');
  const policy = () => alertPolicy(settings.current());
  const isOn = () => local.detections.enabled && settings.current().detectionsEnabled;
  const alerts = new Alerts({
    raise: (record) => {
      occurrences.accept('alerts', [record]);
      stateChanged.notify();
    },
    sendEarly: () => publisher.sendHighWithin(milliseconds(0)),
    policy,
    origin: sender.id,
    redact: local.detections.redact,
    clock,
    log,
    changed: () => saved.changed(),
    dueEarlier: () => times.ring(),
  });
  const times = new AlertTimes({ alerts, clock, log });
  const shipped = local.detections.enabled ? builtInRules() : undefined;
  const names = new RuleNames({ rules: () => detections.rules, policy, nameOf, log });
  const exceptionEffect = new ExceptionEffect({
    rules: () => detections.rules,
    clock,
    log,
    changed: stateChanged.notify,
  });
  const loader = new RuleLoader({
    folder: local.detections.rulesDirectory,
    addressFile: local.detections.badAddressesFile,
    wantedHash: () => settings.current().detectionsRulesHash,
    load: (set) => {
      detections.load(set);
      names.refresh();
    },
    addressesChanged: () => detections.refresh(),
    compiled: new CompiledFiles({ path: state('detection-rules.json'), files: storage.stateFiles, log }),
    ...(shipped === undefined ? {} : { shipped }),
    abandoned: foundation.options.abandoned,
    clock,
    log,
  });
  const detections = new Detections({
    isOn,
    rules: shipped ?? NO_RULES,
    lists: () => ({ ...ruleLists(settings.current()), badAddresses: loader.badAddresses }),
    alerts,
    ancestry: linuxEvents,
    files: hostFacts({ hostRoot: local.hostRoot, clock }),
    userNameOf: (userId) => lookups.userName(userId),
    idOf: (occurrence) => triggers.idOf(occurrence),
    collectors: () => watched(status().collectors),
    isPaused: () => pause.status() !== undefined,
    snapshotPeriod: () => settings.current().snapshotFrequency,
    clock,
    log,
    changed: stateChanged.notify,
    stateChanged: () => saved.changed(),
  });
  const saved = new SavedState({
    file: state('detections.json'),
    parts: { alerts, detections },
    whenLasting: () => queues.whenLasting(),
    saveEvery: storage.syncEvery,
    clock,
    log,
    files: storage.stateFiles,
  });
  occurrences.offerTo(detections);
  snapshots.offerTo(detections);
  auditFloods.on((flood) => detections.auditFlooded(flood));
  const sourceWatch = new SourceWatch({
    collectors,
    sources,
    snapshots,
    consumers: [
      { wants: (event) => detections.follows(event), accept: (snapshot) => detections.accept(snapshot) },
      postureUpdates.betweenRounds,
    ],
    clock,
    log,
  });
  settings.onChange(() => {
    detections.refresh();
    loader.refresh();
    names.refresh();
  });
  foundation.options.lookNow.on(() => loader.refresh());
  const always = [saved, times, detections];
  const services = local.detections.enabled ? [loader, names, ...always] : always;
  return { detections, alerts, names, exceptionEffect, services, sourceWatch };
}

/** Where the local file switches detections off, rules would take memory for nothing. */
const NO_RULES: RuleSet = { rules: [], faults: [], sha256: '' };

const watched = (states: LocalStatus['collectors']) =>
  collectors.map(({ name, category }) => ({ name, category, ...(states[name] ?? { state: 'off' as const }) }));
