import { fstatSync } from 'node:fs';
import { readOptional } from '../../../host/bounded-file.ts';

/** A socket takes some 110 bytes; a machine has tens of them. */
const MAX_BYTES = 1024 * 1024;
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

/** All netlink sockets; empty when /proc/net/netlink is not readable. */
export const netlinkSockets = (): Map<number, KnownSocket> =>
  parseNetlinkSockets(readOptional('/proc/net/netlink', MAX_BYTES) ?? '');

/**
 * Number of datagrams that the kernel has dropped since the socket was made. Those rejected by a filter do not count.
 *
 * @returns `undefined` when /proc/net/netlink does not list the socket
 */
export const droppedDatagrams = (fd: number): number | undefined => netlinkSockets().get(fstatSync(fd).ino)?.drops;
