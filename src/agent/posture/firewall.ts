import type { Payload } from '../../core/contract/event.ts';
import type { FirewallRow } from '../../core/contract/firewall-row.ts';
import { type Direction, type Family, type Hook, PacketFilter } from '../host/packet-filter.ts';

/** The packet filter of the network namespace that the agent is in. */
export interface FirewallPosture {
  readonly inbound: Direction;
  readonly forward: Direction;
  readonly outbound: Direction;
  /** Rules that allow packets from anywhere to any port, or to a broad range of them. */
  readonly permissiveRules: number;
}

/** @param hasIpv6 whether IPv6 is in use; without it, missing filters for IPv6 are not a risk */
export function firewallPostureOf(rows: readonly Payload[], { hasIpv6 }: { hasIpv6: boolean }): FirewallPosture {
  const filter = new PacketFilter(rows as unknown as readonly FirewallRow[]);
  const families: readonly Family[] = hasIpv6 ? ['ip', 'ip6'] : ['ip'];
  const direction = (hook: Hook) => worst(families.map((family) => filter.direction(hook, family)));
  const permissive = new Set<FirewallRow>();
  for (const hook of ['input', 'forward'] as const)
    for (const family of families) for (const row of filter.permissive(hook, family)) permissive.add(row);
  return {
    inbound: direction('input'),
    forward: direction('forward'),
    outbound: direction('output'),
    permissiveRules: permissive.size,
  };
}

/** An attacker who is denied one family uses the other. `none` only if nothing is filtered at all. */
function worst(families: readonly Direction[]): Direction {
  const [first = 'none'] = families;
  if (families.every((each) => each === first)) return first;
  return families.some((each) => each === 'allow' || each === 'none') ? 'allow' : 'unknown';
}
