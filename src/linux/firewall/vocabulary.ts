import type { Action } from './ruleset.ts';

/* What both of Linux's packet filters have words for. */

/** Protocols that firewalls have rules for, by the numbers that IANA has given them. */
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

/** A protocol as the contract has it: its name in lower case, whatever a tool calls it; a number when it has none. */
export const protocolName = (text: string): string => PROTOCOLS.get(text.toLowerCase()) ?? text.toLowerCase();

/** Targets of iptables that say what becomes of a packet; of the others iptables-extensions(8) tells. */
export const XT_ACTIONS: ReadonlyMap<string, Action> = new Map([
  ['ACCEPT', 'Allow'],
  ['DROP', 'Deny'],
  ['REJECT', 'Deny'],
]);
