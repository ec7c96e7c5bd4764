import type { SocketAddress } from '../../../core/contract/streams.ts';
import { formatAddress, isLinkLocal } from '../../host/ip-address.ts';
import { readU16, readU32 } from '../native/byte-order.ts';

/** Families of socket addresses: sys/socket.h. */
export const AF_INET = 2;
export const AF_INET6 = 10;
/** struct sockaddr_in: family, be16 port, 4 bytes of address, padding; see ip(7). The padding may be left out. */
const IPV4_BYTES = 8;
/** struct sockaddr_in6: family, be16 port, flow, 16 bytes of address, scope; see ipv6(7). The scope may be left out. */
const IPV6_BYTES = 24;
const SCOPE_AT = 24;

/**
 * Reads what a SOCKADDR record has as `saddr`: the bytes of a struct sockaddr, as the program or the kernel gave them, in
 * hexadecimal digits. The family is in the byte order of the machine: the same as this one's, as a reader of another
 * machine's log there is none.
 *
 * Source: audit_log_exit() in kernel/auditsc.c.
 *
 * @returns `undefined` when it is of another family than IPv4 and IPv6, or cut short
 */
export function parseSocketAddress(hex: string | undefined): SocketAddress | undefined {
  if (hex === undefined || hex.length < 2 * IPV4_BYTES || hex.length > 256) return undefined;
  const bytes = Buffer.from(hex, 'hex');
  if (bytes.length < IPV4_BYTES) return undefined; // not all of it were digits
  const family = readU16(bytes, 0);
  if (family === AF_INET) {
    return { address: formatAddress(bytes.subarray(4, 8)), port: bytes.readUInt16BE(2) };
  }
  if (family !== AF_INET6 || bytes.length < IPV6_BYTES) return undefined;
  const address = bytes.subarray(8, 24);
  const scope = bytes.length >= SCOPE_AT + 4 && isLinkLocal(address) ? readU32(bytes, SCOPE_AT) : 0;
  return {
    address: formatAddress(address),
    port: bytes.readUInt16BE(2),
    ...(scope === 0 ? {} : { interfaceIndex: scope }),
  };
}
