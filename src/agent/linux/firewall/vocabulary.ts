import type { Action } from './ruleset.ts';

/* Names shared by nftables and iptables. */

/** Protocols that occur in firewall rules, by IANA number. */
const PROTOCOLS: ReadonlyMap<string, string> = new Map([
  ['1', 'icmp'],
  ['2', 'igmp'],
  ['6', 'tcp'],
  ['17', 'udp'],
  ['33', 'dccp'],
  ['47', 'gre'],
  ['50', 'esp'],
  ['51', 'ah'],
  ['58', 'ipv6-icmp'],
  ['108', 'ipcomp'],
  ['132', 'sctp'],
  ['136', 'udplite'],
  ['icmpv6', 'ipv6-icmp'],
]);

/** A protocol as in the contract: its name in lower case, or its number when it has no name. */
export const protocolName = (text: string): string => PROTOCOLS.get(text.toLowerCase()) ?? text.toLowerCase();

/** Targets of iptables that decide about a packet; for the others see iptables-extensions(8). */
export const XT_ACTIONS: ReadonlyMap<string, Action> = new Map([
  ['ACCEPT', 'Allow'],
  ['DROP', 'Deny'],
  ['REJECT', 'Deny'],
]);
