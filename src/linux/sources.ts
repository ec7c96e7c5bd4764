import type { Clock } from '../base/clock.ts';
import { hostMount, unsharedProc } from '../base/in-root.ts';
import type { Lookups, Sources } from '../contract/sources.ts';
import { Firewall } from './firewall/firewall.ts';
import { hostLookups } from './lookups.ts';
import { Accounts } from './machine/accounts.ts';
import { Hardware } from './machine/hardware/hardware.ts';
import { systemFacts } from './machine/system-facts.ts';
import { ListeningSockets } from './sockets/listening-sockets.ts';

/** The sources of all snapshots of this machine, and the look-ups of facts about its processes. */
export function linuxSources({ hostRoot, clock }: { hostRoot: string; clock: Clock }): {
  readonly snapshots: Omit<Sources, 'statistics' | 'baseline'>;
  readonly lookups: Lookups;
} {
  return {
    snapshots: {
      sockets: new ListeningSockets({ proc: unsharedProc(hostMount(hostRoot, 'proc')), clock }),
      accounts: new Accounts({ hostRoot }),
      system: { facts: () => systemFacts({ hostRoot }) },
      firewall: new Firewall(),
      hardware: new Hardware({ hostRoot }),
    },
    lookups: hostLookups({ hostRoot, clock }),
  };
}
