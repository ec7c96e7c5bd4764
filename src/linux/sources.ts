import type { Clock } from '../base/clock.ts';
import type { Lookups, Sources } from '../contract/sources.ts';
import { listAccounts, UserNames } from './accounts.ts';
import { ListeningSockets } from './listening-sockets.ts';
import { systemFacts } from './system-facts.ts';

/** Everything about this machine that can be read as a snapshot, and the names of its ids. */
export function linuxSources({ hostRoot, clock }: { hostRoot: string; clock: Clock }): {
  readonly snapshots: Omit<Sources, 'statistics'>;
  readonly lookups: Lookups;
} {
  const sockets = new ListeningSockets();
  return {
    snapshots: {
      sockets,
      accounts: { list: () => listAccounts(hostRoot) },
      system: { facts: () => systemFacts({ hostRoot }) },
    },
    lookups: new UserNames({ hostRoot, clock }),
  };
}
