import { isIPv4, isIPv6 } from 'node:net';
import type { LoginSeen } from '../../../core/contract/streams.ts';
import { formatAddress } from '../../host/ip-address.ts';

/** The remote end of a login, as far as a record has it. */
export type Remote = Pick<LoginSeen, 'remote' | 'remoteHost' | 'zone'>;

/** The textual address of a login record, possibly with a zone: `fe80::1%eth0`. */
export function parseRemoteAddress(text: string): Remote | undefined {
  const percent = text.indexOf('%');
  const bytes = addressBytes(percent === -1 ? text : text.slice(0, percent));
  if (bytes === undefined) return undefined;
  const zone = percent === -1 ? '' : text.slice(percent + 1);
  return { remote: { address: formatAddress(bytes) }, ...(zone === '' ? {} : { zone }) };
}

/** @returns 4 or 16 bytes in network order, or `undefined` when the text is not an address */
function addressBytes(text: string): Uint8Array | undefined {
  if (isIPv4(text)) return Uint8Array.from(text.split('.'), Number);
  if (!isIPv6(text)) return undefined;
  const [front = [], back = []] = text.split('::').map(bytesOfGroups);
  return Uint8Array.from([...front, ...Array<number>(16 - front.length - back.length).fill(0), ...back]);
}

/** `1:c0:192.0.2.1` → 0, 1, 0, 192, 192, 0, 2, 1. */
function bytesOfGroups(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((group) => {
    if (group.includes('.')) return group.split('.').map(Number);
    const number = Number.parseInt(group, 16);
    return [number >> 8, number & 0xff];
  });
}
