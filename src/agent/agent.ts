import type { Service } from '../core/base/service.ts';
import { collectors } from './collectors/index.ts';
import { Occurrences } from './collectors/occurrences.ts';
import { createCollection } from './composition/collection.ts';
import { createCondition } from './composition/condition.ts';
import { createConfiguration } from './composition/configuration.ts';
import { Later } from './composition/deferred-services.ts';
import { createDelivery } from './composition/delivery.ts';
import { createDetection } from './composition/detection.ts';
import { type AgentOptions, createFoundation } from './composition/foundation.ts';
import { createHub, hubAccess, secretsOf } from './composition/hub.ts';
import { createReporting } from './composition/reporting.ts';
import { logEvents } from './composition/services.ts';
import { createStorage } from './composition/storage.ts';
import type { LocalSettings } from './config/local.ts';
import { linuxSources } from './linux/sources.ts';

/**
 * Every part of the agent. A part is created after the parts that it uses. It announces changes by a Notifier, and later
 * parts subscribe. The returned list is in the order of the start; data flows from its end to its beginning.
 *
 * @throws {AgentError} if only an operator can fix the problem on the device: secrets, state directory
 */
export function agent(local: LocalSettings, options: AgentOptions): Service[] {
  const foundation = createFoundation(local, options);
  const linux = linuxSources({
    hostRoot: local.hostRoot,
    clock: foundation.clockOf('linux'),
    log: foundation.logOf('linux'),
  });
  const occurrences = new Occurrences({ collectors, lookups: linux.lookups });
  const storage = createStorage(foundation);
  const access = hubAccess(foundation, storage);
  const configuration = createConfiguration(foundation, { occurrences, storage });
  const { settings } = configuration;
  const hub = createHub(foundation, {
    access,
    methods: { call: (...what) => reporting.directMethods.call(...what) },
  });
  const delivery = createDelivery(foundation, { settings, hub, storage });
  const condition = createCondition(foundation, { storage, delivery });
  const shared = { storage, configuration, delivery, condition };
  const collection = createCollection(foundation, { ...shared, linux, occurrences });
  const detection = createDetection(foundation, {
    ...shared,
    occurrences,
    lookups: linux.lookups,
    collection,
    status: () => reporting.status(),
  });
  const reporting = createReporting(foundation, { ...shared, hub, collection, detection, secrets: secretsOf(access) });
  settings.onChange(() => {
    collection.linuxEvents.refresh();
    reporting.twin.changed();
  });
  hub.on('status', foundation.stateChanged.notify);
  // What happens before the collectors of Triggered events are ready may go unseen: nothing takes the processor from them.
  const later = new Later({ clock: foundation.clockOf('later'), log: foundation.logOf('later') });

  return [
    reporting.controlSocket, // refuses to start a second agent, which must not change audit
    collection.linuxEvents.connection, // the kernel keeps its records until they are read
    storage.end,
    condition.runs, // how they ended
    delivery.queues, // what an earlier run could not send
    delivery.aggregator.recovery, // and what it was counting
    delivery.accountCopy, // and what is missing of both
    collection.pause, // before anything is collected
    logEvents(options.tap, occurrences),
    condition.runs.report,
    condition.exposedFiles,
    delivery.unsetClock,
    delivery.statistics.keeper(options.clock),
    collection.changeNotices,
    configuration.faultReports,
    delivery.budget,
    condition.logLevel,
    local.strictStart ? hub : later.service(hub), // connects in the background and retries forever
    reporting.twin, // desired in, reported out
    ...(local.strictStart ? [reporting.strictStart] : []),
    reporting.reported,
    reporting.credentialWatch,
    delivery.publisher,
    delivery.aggregator,
    condition.memory,
    ...detection.services, // evaluate the collectors' events
    collection.postureUpdates,
    later.service(collection.snapshots), // Periodic collectors
    detection.sourceWatch, // what changes between their rounds
    collection.linuxEvents, // Triggered collectors
    later, // lets hub and snapshots begin
    reporting.endOfRun,
    reporting.lifeline, // says that all of this has started
  ];
}
