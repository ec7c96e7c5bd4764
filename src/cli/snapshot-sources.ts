import { systemClock } from '../base/clock.ts';
import { createLog } from '../base/log.ts';
import { BaselineEngine } from '../baseline/engine.ts';
import { BaselineScans } from '../baseline/scans.ts';
import { collectors } from '../collectors/index.ts';
import { readTwin, twinProperties } from '../config/twin.ts';
import type { Settings } from '../contract/settings.ts';
import type { Sources } from '../contract/sources.ts';
import { linuxSources } from '../linux/sources.ts';

/** What snapshots are taken from by hand: of this machine as it is, by the twin's defaults. */
export function snapshotSources(hostRoot: string, statistics: Sources['statistics']): Sources {
  const { snapshots } = linuxSources({ hostRoot, clock: systemClock });
  const baseline = new BaselineScans({
    scanner: new BaselineEngine({ hostRoot, clock: systemClock, firewall: snapshots.firewall }),
    settings: { current: defaults },
    tell: () => {},
    clock: systemClock,
    log: createLog({ level: 'silent' }),
  });
  return { ...snapshots, baseline, statistics };
}

function defaults(): Settings {
  const reading = readTwin(undefined, twinProperties(collectors));
  if (reading.ok) return reading.settings;
  throw new TypeError(`the defaults are not valid: ${JSON.stringify(reading.faults)}`);
}
