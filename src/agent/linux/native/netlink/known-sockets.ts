import { fstatSync } from 'node:fs';
import { readOptional } from '../../../../core/base/bounded-file.ts';
import { readU32 } from '../byte-order.ts';
import { optionalSystemCalls } from '../system-calls.ts';

/** About 10,000 sockets: a machine has tens of them. Reading all takes up to half a second. */
const MAX_BYTES = 1024 * 1024;
/** For what is read again and again. */
const MAX_BYTES_OFTEN = 64 * 1024;
const COLUMNS = 10;

/** A netlink socket as /proc/net/netlink lists it. */
export interface KnownSocket {
  /** The family, such as NETLINK_AUDIT. */
  readonly protocol: number;
  /** Multicast groups it has joined, as a bit mask; the first 32. */
  readonly groups: number;
  /** Datagrams that the kernel has dropped since the socket was made, because its queue was full; below 2^32. */
  readonly drops: number;
}

/**
 * The netlink sockets of this network namespace, by inode: /proc/net/netlink.
 *
 *     sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode
 *     00000000d98b04c4 11  13313      00000001 8448     0        0     2        3085     21337
 *
 * The kernel counts drops with 32 bits, signed. Source: netlink_seq_show() in net/netlink/af_netlink.c.
 */
export function parseNetlinkSockets(text: string): Map<number, KnownSocket> {
  const sockets = new Map<number, KnownSocket>();
  for (const line of text.split('\n')) {
    const columns = line.trim().split(/\s+/);
    if (columns.length < COLUMNS || !/^\d{1,15}$/.test(columns.at(-1) ?? '')) continue;
    const protocol = Number(columns[1]);
    const groups = Number.parseInt(columns[3] ?? '', 16);
    const drops = Number(columns.at(-2));
    if (![protocol, groups, drops].every(Number.isInteger)) continue;
    sockets.set(Number(columns.at(-1)), { protocol, groups, drops: drops >>> 0 });
  }
  return sockets;
}

/** All netlink sockets; empty when /proc/net/netlink is not readable, or longer than `maxBytes`. */
export const netlinkSockets = (maxBytes = MAX_BYTES): Map<number, KnownSocket> =>
  parseNetlinkSockets(readOptional('/proc/net/netlink', maxBytes) ?? '');

/** From asm-generic/socket.h; the same on all platforms of Node. */
const SOL_SOCKET = 1;
/** Since Linux 4.12. The answer is nine u32; the last one, SK_MEMINFO_DROPS, is what /proc/net/netlink calls Drops. */
const SO_MEMINFO = 55;
const MEMINFO_BYTES = 36;
const DROPS_AT = 32;

/**
 * Number of datagrams that the kernel has dropped since the socket was made; below 2^32. Those rejected by a filter do not
 * count.
 *
 * Asks the socket. /proc/net/netlink is read only where that is not possible, and if it is short: any user can make it so
 * long that reading it takes half a second.
 *
 * @returns `undefined` when neither shows it
 */
export function droppedDatagrams(fd: number): number | undefined {
  const values = Buffer.alloc(MEMINFO_BYTES);
  if (optionalSystemCalls()?.getsockopt(fd, SOL_SOCKET, SO_MEMINFO, values) === MEMINFO_BYTES)
    return readU32(values, DROPS_AT);
  return netlinkSockets(MAX_BYTES_OFTEN).get(fstatSync(fd).ino)?.drops;
}
