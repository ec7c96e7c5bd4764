import * as v from 'valibot';
import { periodic } from '../contract/collector.ts';
import type { FirewallRule } from '../contract/sources.ts';
import { details, extraDetails, integer, oneOf, text } from './fields.ts';

/** What packets may come in, go out and pass through. */
export const firewallConfiguration = periodic({
  name: 'FirewallConfiguration',
  type: 'Security',
  priority: 'Low',
  version: '1.0',
  summary:
    'Every rule of nftables and of legacy iptables, IPv4 and IPv6, and the policy behind each chain with a hook.',
  source:
    'nft -j list ruleset, see libnftables-json(5); iptables-save(8), where iptables has rules that nft cannot show',

  payload: v.strictObject({
    Enabled: v.pipe(
      v.boolean(),
      v.description(
        'Whether packets can come by: false in a dormant table, and in a chain that no hook or jump leads to.',
      ),
    ),
    Action: oneOf(
      ['Allow', 'Deny', 'Other'],
      'What becomes of a packet that matches; Other: see Target. A chain without rules for it goes by its policy.',
    ),
    Priority: v.optional(integer('Place within the chain, counted from 0; the policy of the chain comes last.')),
    ChainName: v.optional(text('The chain it belongs to.')),
    Direction: v.optional(
      oneOf(
        ['In', 'Out'],
        'For packets to or from this host: by the hook of the chain, or of all chains that jump to it.',
      ),
    ),
    SourceAddress: v.optional(
      text('Addresses, networks and ranges, joined with ","; "!" means all others, "@" a named set.'),
    ),
    SourcePort: v.optional(text('Ports and ranges, in the same way.')),
    DestinationAddress: v.optional(text('As SourceAddress.')),
    DestinationPort: v.optional(text('As SourcePort.')),
    Protocol: v.optional(text('Name of the protocol in lower case, else its number; absent when any.')),
    ExtraDetails: extraDetails(
      'Origin: nftables or iptables, the part of the kernel that holds the rule. Family, Table: where it is. Target: what ' +
        'is done, as the tool writes it; "policy drop" and the like for a policy. All other matches by name: ' +
        'InInterface, CtState, Comment, Limit and so on, and a second match on a field above; Sets: what is in the named sets, when that is little.',
    ),
  }),

  inParts: true,

  sourceStatus: ({ firewall }) => firewall.status(),

  async collect({ firewall }, signal) {
    const rules = await firewall.rules(signal);
    return rules.length === 0 ? NOTHING_CONFIGURED : rules.map(row);
  },
});

/** Without a firewall, the kernel lets everything pass. */
const NOTHING_CONFIGURED = [
  { ChainName: 'INPUT', Enabled: false, Action: 'Allow' as const, Direction: 'In' as const },
  { ChainName: 'OUTPUT', Enabled: false, Action: 'Allow' as const, Direction: 'Out' as const },
  { ChainName: 'FORWARD', Enabled: false, Action: 'Allow' as const },
];

const row = (rule: FirewallRule) => ({
  Enabled: rule.enabled,
  Action: rule.action,
  Priority: rule.priority,
  ChainName: rule.chain,
  ...known({
    Direction: rule.direction,
    SourceAddress: rule.sourceAddress,
    SourcePort: rule.sourcePort,
    DestinationAddress: rule.destinationAddress,
    DestinationPort: rule.destinationPort,
    Protocol: rule.protocol,
  }),
  ...details({
    Origin: rule.origin,
    Family: rule.family,
    Table: rule.table,
    Target: rule.target,
    ...matches(rule.matches),
  }),
});

const OURS = ['Origin', 'Family', 'Table', 'Target'];

/** `ct state` → `CtState`. What would then be called like one of our own is `MatchTable`; two of one name are joined. */
function matches(of: FirewallRule['matches']): Record<string, string> {
  const named = new Map<string, string>();
  for (const [name, said] of Object.entries(of)) {
    const key = pascalCase(name) || 'Match';
    const free = OURS.includes(key) ? `Match${key}` : key;
    const before = named.get(free);
    named.set(free, before === undefined ? said : `${before}; ${said}`);
  }
  return Object.fromEntries(named);
}

/** Two numbers beside each other stay two: `@nh,0,8` → `Nh0_8`. */
const pascalCase = (name: string) =>
  name
    .split(/[^A-Za-z0-9]+/)
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
    .join(' ')
    .replace(/(?<=\d) (?=\d)/g, '_')
    .replaceAll(' ', '');

/** The same without what is undefined. */
const known = <T extends object>(facts: T) =>
  Object.fromEntries(Object.entries(facts).filter(([, fact]) => fact !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
