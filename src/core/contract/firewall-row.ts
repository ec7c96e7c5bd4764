import { defined } from '../base/values.ts';
import type { FirewallRule } from './sources.ts';

/** A payload element of FirewallConfiguration. Elements about a kernel without rules have only the first members. */
export interface FirewallRow {
  readonly Enabled: boolean;
  readonly Action: 'Allow' | 'Deny' | 'Other';
  readonly ChainName?: string;
  readonly Direction?: 'In' | 'Out';
  readonly Priority?: number;
  readonly SourceAddress?: string;
  readonly SourcePort?: string;
  readonly DestinationAddress?: string;
  readonly DestinationPort?: string;
  readonly Protocol?: string;
  readonly ExtraDetails?: Record<string, string>;
}

/** A rule of the packet filter as a payload element of FirewallConfiguration. */
export const firewallRow = (rule: FirewallRule): FirewallRow => ({
  Enabled: rule.enabled,
  Action: rule.action,
  Priority: rule.priority,
  ChainName: rule.chain,
  ...defined({
    Direction: rule.direction,
    SourceAddress: rule.sourceAddress,
    SourcePort: rule.sourcePort,
    DestinationAddress: rule.destinationAddress,
    DestinationPort: rule.destinationPort,
    Protocol: rule.protocol,
  }),
  ExtraDetails: {
    Origin: rule.origin,
    Family: rule.family,
    Table: rule.table,
    Target: rule.target,
    ...matches(rule.matches),
  },
});

/** Members of ExtraDetails that are not matches. */
const RESERVED = ['Origin', 'Family', 'Table', 'Target'];

/** `ct state` → `CtState`. A reserved name gets a prefix, as `MatchTable`; matches with the same name are joined. */
function matches(of: FirewallRule['matches']): Record<string, string> {
  const named = new Map<string, string>();
  for (const [name, value] of Object.entries(of)) {
    const key = pascalCase(name) || 'Match';
    const free = RESERVED.includes(key) ? `Match${key}` : key;
    const before = named.get(free);
    named.set(free, before === undefined ? value : `${before}; ${value}`);
  }
  return Object.fromEntries(named);
}

/** Adjacent numbers are separated by an underscore: `@nh,0,8` → `Nh0_8`. */
const pascalCase = (name: string) =>
  name
    .split(/[^A-Za-z0-9]+/)
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
    .join(' ')
    .replace(/(?<=\d) (?=\d)/g, '_')
    .replaceAll(' ', '');
