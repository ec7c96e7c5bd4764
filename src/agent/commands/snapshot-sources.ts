import { systemClock } from '../../core/base/clock.ts';
import type { Duration } from '../../core/base/duration.ts';
import { createLog } from '../../core/base/log.ts';
import type { BaselinePosture } from '../../core/contract/baseline.ts';
import type { Sources } from '../../core/contract/sources.ts';
import { twinDialect } from '../../core/twin/published-object.ts';
import { readDefaults } from '../../core/twin/twin.ts';
import { IsolatedScanner } from '../baseline/isolated-scanner.ts';
import { BaselineScans } from '../baseline/scans.ts';
import { linuxSources } from '../linux/sources.ts';
import { Reader } from '../reader/reader.ts';

/** Also returns the state of the last scan. */
type SnapshotSources = Sources & { readonly scanned: () => BaselinePosture | undefined };

/** The sources of snapshots for commands: this machine, with the default settings. */
export function snapshotSources(hostRoot: string, statistics: Sources['statistics']): SnapshotSources {
  const log = createLog({ level: 'silent' });
  const { snapshots, reader } = linuxSources({ hostRoot, clock: systemClock, log });
  const { firewall } = snapshots;
  const baseline = new BaselineScans({
    scanner: new IsolatedScanner({ reader, hostRoot, firewall, clock: systemClock, log }),
    settings: { current: () => readDefaults(twinDialect()).settings },
    onFaults: () => {},
    clock: systemClock,
    log,
  });
  return { ...snapshots, baseline, statistics, scanned: () => baseline.posture() };
}

/** Scans for a command, in a process that is killed when it hangs, and at Ctrl-C. */
export function ownScanner(hostRoot: string, firewall: Sources['firewall'], longest?: Duration): IsolatedScanner {
  const log = createLog({ level: 'silent' });
  const reader = new Reader({ clock: systemClock, log });
  const limit = longest === undefined ? {} : { longest };
  return new IsolatedScanner({ reader, hostRoot, firewall, clock: systemClock, log, ...limit });
}
