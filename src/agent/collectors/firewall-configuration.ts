import * as v from 'valibot';
import { periodic } from '../../core/contract/collector.ts';
import { EVENTS } from '../../core/contract/events.ts';
import { firewallRow } from '../../core/contract/firewall-row.ts';
import { extraDetails, integer, oneOf, text } from './fields.ts';

/** The rules for inbound, outbound and forwarded packets. */
export const firewallConfiguration = periodic({
  ...EVENTS.FirewallConfiguration,
  version: '1.0',
  summary:
    'Every rule of nftables and of legacy iptables, IPv4 and IPv6, and the policy of each chain that has a hook.',
  source: 'nft -j list ruleset, see libnftables-json(5); iptables-save(8), if iptables has rules that nft cannot show',

  payload: v.strictObject({
    Enabled: v.pipe(
      v.boolean(),
      v.description(
        'Whether packets can reach the rule: false in a dormant table, and in a chain without a hook or a jump to it.',
      ),
    ),
    Action: oneOf(
      ['Allow', 'Deny', 'Other'],
      "What happens to a packet that matches; Other: see Target. The chain's policy applies to packets that match no rule.",
    ),
    Priority: v.optional(integer("Position in the chain, from 0; the chain's policy is last.")),
    ChainName: v.optional(text('Chain of the rule or policy.')),
    Direction: v.optional(
      oneOf(
        ['In', 'Out'],
        'In: packets to this host. Out: packets from it. Absent for other packets. Taken from the hook of the chain, or of the chains that jump to it.',
      ),
    ),
    SourceAddress: v.optional(text('Addresses, networks and ranges, joined by ","; "!" negates, "@" names a set.')),
    SourcePort: v.optional(text('Ports and ranges, in the same notation.')),
    DestinationAddress: v.optional(text('Like SourceAddress.')),
    DestinationPort: v.optional(text('Like SourcePort.')),
    Protocol: v.optional(text('Protocol name in lower case, else its number; absent if any protocol matches.')),
    ExtraDetails: extraDetails(
      'Origin: nftables or iptables, the kernel subsystem that has the rule. Family, Table: of the chain. Target: the ' +
        'statement, as the tool writes it; for a policy, "policy drop" and so on. Every other match under its name: ' +
        'InInterface, CtState, Comment, Limit and so on, or a second match on a field above. Sets: the elements of the named sets, if they are few.',
    ),
  }),

  inParts: true,

  trace: ({ firewall }, signal) => firewall.trace(signal),

  sourceStatus: ({ firewall }) => firewall.status(),

  async collect({ firewall }, signal) {
    const rules = await firewall.rules(signal);
    return rules.length === 0 ? NOTHING_CONFIGURED : rules.map(firewallRow);
  },
});

/** Without rules the kernel accepts all packets. */
const NOTHING_CONFIGURED = [
  { ChainName: 'INPUT', Enabled: false, Action: 'Allow' as const, Direction: 'In' as const },
  { ChainName: 'OUTPUT', Enabled: false, Action: 'Allow' as const, Direction: 'Out' as const },
  { ChainName: 'FORWARD', Enabled: false, Action: 'Allow' as const },
];
