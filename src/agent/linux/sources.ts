import type { Clock } from '../../core/base/clock.ts';
import type { Logger } from '../../core/base/log.ts';
import type { Lookups } from '../../core/contract/lookups.ts';
import type { Sources } from '../../core/contract/sources.ts';
import { hostMount, unsharedProc } from '../host/in-root.ts';
import { Reader } from '../reader/reader.ts';
import { Firewall } from './firewall/firewall.ts';
import { hostLookups } from './lookups.ts';
import { Accounts } from './machine/accounts.ts';
import { Hardware } from './machine/hardware/hardware.ts';
import { MachineQuestion } from './machine/machine-question.ts';
import { parseFacts, SYSTEM_FACTS } from './machine/system-facts.ts';
import { ListeningSockets } from './sockets/listening-sockets.ts';

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
