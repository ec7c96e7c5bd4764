import { endianness } from 'node:os';

/** Whether 16 bytes are `::ffff:a.b.c.d`, an IPv4 address as an IPv6 socket sees it (RFC 4291, 2.5.5.2). */
const isMapped = (bytes: Uint8Array): boolean =>
  bytes[10] === 0xff && bytes[11] === 0xff && bytes.subarray(0, 10).every((byte) => byte === 0);

/**
 * An address as text: dotted for IPv4 and for IPv4 mapped into IPv6, RFC 5952 for IPv6, without a zone.
 *
 * @param bytes 4 or 16 bytes in network byte order
 * @throws RangeError for any other length
 */
export function formatAddress(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  if (bytes.length !== 16) throw new RangeError(`an address of ${bytes.length} bytes`);
  if (isMapped(bytes)) return bytes.subarray(12).join('.');
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0));
  const { start, length } = longestZeros(groups);
  const text = (part: number[]) => part.map((group) => group.toString(16)).join(':');
  // RFC 5952, 4.2.2: a single zero group is not shortened.
  if (length < 2) return text(groups);
  return `${text(groups.slice(0, start))}::${text(groups.slice(start + length))}`;
}

/** The longest run of zero groups, the first one if there are several (RFC 5952, 4.2.3). */
function longestZeros(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start += 1) {
    let end = start;
    while (groups[end] === 0) end += 1;
    if (end - start > best.length) best = { start, length: end - start };
    start = end;
  }
  return best;
}

/** Whether an address is valid on one interface only: fe80::/10 and ffx2::/16 (RFC 4291, 2.5.6 and 2.7). */
export const isLinkLocal = (bytes: Uint8Array): boolean => {
  const [first = 0, second = 0] = bytes;
  if (bytes.length !== 16) return false;
  return (first === 0xfe && (second & 0xc0) === 0x80) || (first === 0xff && (second & 0x0f) === 2);
};

/**
 * Reads an address as printed in /proc/net/tcp: each 32-bit word in network order, printed as a number of the host.
 * `0100007F` is 127.0.0.1 on a little-endian machine, `7F000001` on a big-endian one.
 * Source: get_tcp4_sock() in net/ipv4/tcp_ipv4.c, get_tcp6_sock() in net/ipv6/tcp_ipv6.c.
 *
 * @returns its bytes in network order, or `undefined` when the text is not such an address
 */
export function parseProcAddress(hex: string, order: 'LE' | 'BE' = endianness()): Buffer | undefined {
  if (!/^(?:[0-9A-F]{8}|[0-9A-F]{32})$/i.test(hex)) return undefined;
  const bytes = Buffer.from(hex, 'hex');
  return order === 'LE' ? bytes.swap32() : bytes;
}
