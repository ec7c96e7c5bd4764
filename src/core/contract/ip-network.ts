import { isIP } from 'node:net';

/** Addresses of one network. */
export interface IpNetwork {
  /** As it was written: `192.0.2.0/24`. */
  readonly text: string;
  /** Length of the prefix within the address family: 8 for 10.0.0.0/8 and for ::ffff:10.0.0.0/104. */
  readonly prefix: number;
  /**
   * Whether an address is in this network; its zone is ignored. An IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2) counts
   * as an IPv4 address, which `::/0` does not contain: a list that allows all of IPv6 does not cover IPv4. False for
   * other strings.
   */
  has(address: string): boolean;
}

/** @param cidr `192.0.2.0/24`, `2001:db8::/32`, or a single address; `undefined` for any other text */
export function parseNetwork(cidr: string): IpNetwork | undefined {
  const [host = '', prefix, ...more] = cidr.split('/');
  const address = parseAddress(host);
  if (address === undefined || host.includes('%') || more.length > 0) return undefined;
  const bits = isIP(host) === 4 ? 32 : 128;
  const length = prefix === undefined ? bits : /^\d{1,3}$/.test(prefix) ? Number(prefix) : -1;
  if (length < 0 || length > bits) return undefined;
  const mask = ALL ^ ((1n << BigInt(bits - length)) - 1n);
  const first = address & mask;
  return {
    text: cidr,
    prefix: (isV4(first) ? 32 : 128) - (bits - length),
    has(text) {
      const one = parseAddress(text);
      return one !== undefined && (one & mask) === first && isV4(one) === isV4(first);
    },
  };
}

const ALL = (1n << 128n) - 1n;
/** ::ffff:0:0/96, in which IPv4 addresses are compared. */
const MAPPED = 0xffff_0000_0000n;

const isV4 = (address: bigint): boolean => address >> 32n === MAPPED >> 32n;

/** An address as 128 bits, without its zone; `undefined` if it is invalid. */
function parseAddress(text: string): bigint | undefined {
  const [host = ''] = text.split('%', 1);
  const family = isIP(host);
  if (family === 4) return MAPPED | v4(host);
  if (family !== 6) return undefined;
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(host);
  const low = dotted?.[2] === undefined ? undefined : v4(dotted[2]);
  const plain = low === undefined ? host : `${dotted?.[1]}${(low >> 16n).toString(16)}:${(low & 0xffffn).toString(16)}`;
  const [before = '', after] = plain.split('::');
  const words = (part: string) => (part === '' ? [] : part.split(':'));
  const head = words(before);
  const tail = after === undefined ? [] : words(after);
  const all = after === undefined ? head : [...head, ...Array(8 - head.length - tail.length).fill('0'), ...tail];
  return all.reduce((sum, word) => (sum << 16n) | BigInt(`0x${word}`), 0n);
}

const v4 = (text: string): bigint => text.split('.').reduce((sum, part) => (sum << 8n) | BigInt(part), 0n);

/** Whether an address in canonical form is loopback: 127.0.0.0/8 (RFC 1122, 3.2.1.3), ::1 (RFC 4291, 2.5.3). */
export const isLoopback = (address: string): boolean => address === '::1' || address.startsWith('127.');
