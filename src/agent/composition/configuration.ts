import { type NameOfSetting, type SettingsReader, settingRows } from '../../core/contract/settings.ts';
import { namesOf } from '../../core/twin/dialect.ts';
import { type Limits, largestCache, limitsInForce } from '../../core/twin/limits.ts';
import { publishedObject } from '../../core/twin/published-object.ts';
import { collectors } from '../collectors/index.ts';
import type { Occurrences } from '../collectors/occurrences.ts';
import { logBlindSpots } from '../config/blind-spot-log.ts';
import type { ConfigurationChange } from '../config/changes.ts';
import { FaultReports } from '../config/fault-reports.ts';
import { LAST_GOOD_FILE } from '../config/last-good.ts';
import { TwinConfiguration } from '../config/twin-configuration.ts';
import { Notifier } from '../state/notifier.ts';
import type { Foundation } from './foundation.ts';
import type { Storage } from './storage.ts';

/** What the module twin may change, and the local limits that win over it. */
export interface Configuration {
  readonly configuration: TwinConfiguration;
  readonly faultReports: FaultReports;
  readonly settings: SettingsReader;
  readonly limits: Limits;
  /** The name that the module twin has for a setting. */
  readonly nameOf: NameOfSetting;
  readonly changed: Notifier<ConfigurationChange>;
}

export function createConfiguration(
  { local, state, clock, clockOf, logOf }: Foundation,
  { occurrences, storage: { stateFiles } }: { occurrences: Occurrences; storage: Storage },
): Configuration {
  const changed = new Notifier<ConfigurationChange>();
  const limits = limitsInForce(local.limits, collectors, () => largestCache(local.stateDirectory, state('queues')));
  const dialect = publishedObject(settingRows(collectors), local.twinObjectName);
  const nameOf = namesOf(dialect.properties);
  const faultReports = new FaultReports({
    announce: (faults) => occurrences.accept('configuration', faults),
    clock: clockOf('configuration'),
    log: logOf('configuration'),
  });
  const configuration = new TwinConfiguration({
    dialect,
    limits,
    lastGoodFile: state(LAST_GOOD_FILE),
    onFaults: (faults) => faultReports.accept(faults),
    changed: changed.notify,
    clock,
    log: logOf('configuration'),
    files: stateFiles,
  });
  const { settings } = configuration;
  logBlindSpots({ settings, limits, collectors, nameOf, log: logOf('configuration') });
  return { configuration, faultReports, settings, limits, nameOf, changed };
}
