import { isIP } from 'node:net';
import type { Network } from './rule.ts';

const ALL = (1n << 128n) - 1n;
/** ::ffff:0:0/96, in which IPv4 addresses are compared. */
const MAPPED = 0xffff_0000_0000n;

/** `undefined` if it is no address, or no prefix. An address alone is a network of one. */
export function readNetwork(text: string): Network | undefined {
  const [host = '', bits, more] = text.trim().split('/');
  const family = isIP(host);
  if (family === 0 || more !== undefined || (bits !== undefined && !/^\d{1,3}$/.test(bits))) return undefined;
  const width = family === 4 ? 32 : 128;
  const length = bits === undefined ? width : Number(bits);
  const address = readAddress(host);
  if (length > width || address === undefined) return undefined;
  const mask = ALL ^ ((1n << BigInt(width - length)) - 1n);
  return { address: address & mask, mask };
}

/** An address as 128 bits, without its zone; `undefined` if it is none. */
export function readAddress(text: string): bigint | undefined {
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

/** `::/0` has no IPv4 addresses: a list that allows all of IPv6 says nothing of them. */
export const isIn = ({ address, mask }: Network, value: bigint): boolean =>
  (value & mask) === address && isV4(value) === isV4(address);

const isV4 = (address: bigint): boolean => address >> 32n === MAPPED >> 32n;
