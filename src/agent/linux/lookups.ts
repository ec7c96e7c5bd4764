import { type Clock, momentOf } from '../../core/base/clock.ts';
import type { Duration } from '../../core/base/duration.ts';
import type { Lookups } from '../../core/contract/lookups.ts';
import { isRootOwned } from '../host/root-owned.ts';
import { UserNames } from './machine/accounts.ts';
import { Interfaces } from './machine/interfaces.ts';
import { cachedHostFiles } from './native/cached-names.ts';
import { Containers } from './processes/containers.ts';
import { ExecutableHashes } from './processes/hashing/executable-hashes.ts';

/** Lookups that enrich events with facts of this host. */
export function hostLookups({ hostRoot, clock }: { hostRoot: string; clock: Clock }): Lookups {
  const names = new UserNames({ hostRoot, clock });
  const files = cachedHostFiles({ hostRoot, clock });
  const containers = new Containers({ hostRoot, clock, isRootOwned: (path) => isRootOwned(files, path) });
  const hashes = new ExecutableHashes({ hostRoot, clock, files });
  const interfaces = new Interfaces({ clock });
  /** When the current batch began; its records are from before that. `undefined` without batches. */
  let batchAt: Duration | undefined;
  return {
    newBatch() {
      batchAt = clock.monotonic();
    },
    userName: (userId) => names.userName(userId),
    containerId: (pid, parentPid) => containers.of(pid, parentPid),
    started(process) {
      const now = momentOf(clock);
      const place = containers.started(process, now);
      const { sha256, omitted } = hashes.of(process, place, now, batchAt);
      return { containerId: place.container, sha256, hashOmitted: omitted };
    },
    interfaceName: (index) => interfaces.interfaceName(index),
  };
}
