import { BlockList, isIP, isIPv6 } from 'node:net';

/** Addresses of one network. */
export interface IpNetwork {
  /** Whether an address is in it. Other texts are in none. */
  has(address: string): boolean;
}

/** @param cidr `192.0.2.0/24`, `2001:db8::/32`, or a single address; `undefined` for any other text */
export function parseNetwork(cidr: string): IpNetwork | undefined {
  const [address = '', prefix, ...more] = cidr.split('/');
  const bits = isIPv6(address) ? 128 : 32;
  const length = prefix === undefined ? bits : /^\d{1,3}$/.test(prefix) ? Number(prefix) : -1;
  if (isIP(address) === 0 || more.length > 0 || length < 0 || length > bits) return undefined;
  const family = bits === 128 ? 'ipv6' : 'ipv4';
  const network = new BlockList();
  network.addSubnet(address, length, family);
  // Node would take an IPv4 address for one that is mapped into IPv6.
  return { has: (one) => isIP(one) === isIP(address) && network.check(one, family) };
}
