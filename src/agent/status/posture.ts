import type { SnapshotFacts } from '../posture/evaluate.ts';
import type { Posture } from './schema.ts';

const UNKNOWN = { inbound: 'unknown', forward: 'unknown', outbound: 'unknown' } as const;

/** What the snapshots found. Unknown sections are absent, but an unknown packet filter says so. */
export function postureSections({ exposure, firewall, accounts }: SnapshotFacts): Posture {
  return {
    ...('found' in exposure ? { exposure: exposure.found } : {}),
    firewall: 'found' in firewall ? firewall.found : UNKNOWN,
    ...('found' in accounts ? { accounts: accounts.found } : {}),
  };
}
