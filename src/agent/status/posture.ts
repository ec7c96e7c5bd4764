import type { SnapshotFacts } from '../posture/evaluate.ts';
import type { Posture } from './schema.ts';

const UNKNOWN = { inbound: 'unknown', forward: 'unknown', outbound: 'unknown' } as const;

/** Findings of the snapshots. Unknown sections are omitted, except that an unknown packet filter is reported as such. */
export function postureSections({ exposure, firewall, accounts }: SnapshotFacts): Posture {
  return {
    ...('found' in exposure ? { exposure: exposure.found } : {}),
    firewall: 'found' in firewall ? firewall.found : UNKNOWN,
    ...('found' in accounts ? { accounts: accounts.found } : {}),
  };
}
