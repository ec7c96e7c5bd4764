import { BlockList, isIP } from 'node:net';
import type { Address } from './address.ts';

/**
 * Whether NO_PROXY exempts a host. As curl reads it, entries are separated by commas or spaces: a name, which includes its
 * subdomains too, with or without a leading dot; an IP address; a network, as 10.0.0.0/8; or `*` for every host. As in
 * other programs, `*.` may precede a name, and `:port` may follow a name or an address. Names are not resolved.
 */
export const isExempt = (target: Address, noProxy: string): boolean =>
  noProxy
    .toLowerCase()
    .split(/[\s,]+/)
    .some((entry) => entry !== '' && matches(entry, target));

function matches(entry: string, { host, port }: Address): boolean {
  if (entry === '*') return true;
  const name = host.toLowerCase().replace(/\.$/, '');
  const network = /^\[?([0-9a-f:.]+)\]?\/(\d{1,3})$/.exec(entry);
  if (network !== null) return contains(network[1] ?? '', Number(network[2]), name);
  if (isIP(entry) === 6) return isSameAddress(entry, name);
  const [, bracketed, bare = '', wanted] = /^(?:\[([0-9a-f:.]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(entry) ?? [];
  if (wanted !== undefined && Number(wanted) !== port) return false;
  if (bracketed !== undefined) return isSameAddress(bracketed, name);
  if (isIP(bare) !== 0 || isIP(name) !== 0) return isSameAddress(bare, name);
  const domain = bare.replace(/^\*?\./, '').replace(/\.$/, '');
  return domain !== '' && (name === domain || name.endsWith(`.${domain}`));
}

const isSameAddress = (one: string, other: string) => contains(one, isIP(one) === 6 ? 128 : 32, other);

function contains(network: string, prefix: number, address: string): boolean {
  const family = isIP(network);
  if (family === 0 || isIP(address) !== family || prefix > (family === 6 ? 128 : 32)) return false;
  const type = family === 6 ? 'ipv6' : 'ipv4';
  const list = new BlockList();
  list.addSubnet(network, prefix, type);
  return list.check(address, type);
}
