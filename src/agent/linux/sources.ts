import { type Clock, momentOf } from '../../core/base/clock.ts';
import type { Duration } from '../../core/base/duration.ts';
import type { Logger } from '../../core/base/log.ts';
import type { Lookups } from '../../core/contract/lookups.ts';
import type { Sources } from '../../core/contract/sources.ts';
import { isRootOwned } from '../host/file-state.ts';
import { hostMount, unsharedProc } from '../host/in-root.ts';
import { Reader } from '../reader/reader.ts';
import { Firewall } from './firewall/firewall.ts';
import { Accounts, UserNames } from './machine/accounts.ts';
import { Hardware } from './machine/hardware/hardware.ts';
import { Interfaces } from './machine/interfaces.ts';
import { MachineQuestion } from './machine/machine-question.ts';
import { parseFacts, SYSTEM_FACTS } from './machine/system-facts.ts';
import { cachedHostFiles } from './native/cached-names.ts';
import { Containers } from './processes/containers.ts';
import { ExecutableHashes } from './processes/hashing/executable-hashes.ts';
import { ListeningSockets } from './sockets/listening-sockets.ts';

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

/** The sources of all snapshots of this machine, and the lookups of facts about its processes. */
export function linuxSources({ hostRoot, clock, log }: { hostRoot: string; clock: Clock; log: Logger }): {
  readonly snapshots: Omit<Sources, 'statistics' | 'baseline'>;
  /** Asked about what could block, for snapshots: one after the other, so that only one child process takes memory. */
  readonly reader: Reader;
  readonly lookups: Lookups;
} {
  const reader = new Reader({ clock, log });
  const failure = "Facts about the system can't be read";
  const system = new MachineQuestion({ kind: SYSTEM_FACTS, failure, parse: parseFacts, reader, clock });
  return {
    reader,
    snapshots: {
      sockets: new ListeningSockets({ proc: unsharedProc(hostMount(hostRoot, 'proc')), clock }),
      accounts: new Accounts({ hostRoot }),
      system: { facts: (signal) => system.ask({ hostRoot }, signal) },
      firewall: new Firewall(),
      hardware: new Hardware({ hostRoot, reader, clock }),
    },
    lookups: hostLookups({ hostRoot, clock }),
  };
}
