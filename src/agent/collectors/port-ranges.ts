import { ownerOfId } from '../../core/contract/owner.ts';
import type { ListeningSocket } from '../../core/contract/sources.ts';

/** Sockets of one process at one address with adjacent ports. */
export interface PortRange {
  /** The socket with the first port. */
  readonly socket: ListeningSocket;
  /** Equal to the socket's port for a single port. */
  readonly lastPort: number;
}

/** Merges adjacent ports of one process at one address. Equal sockets (SO_REUSEPORT) count once. */
export function merged(sockets: readonly ListeningSocket[]): PortRange[] {
  const groups = new Map<string, ListeningSocket[]>();
  for (const socket of sockets) {
    const { protocol, localAddress, zone = '', userId, pid = '', executable = '' } = socket;
    const key = `${protocol} ${localAddress} ${zone} ${userId} ${pid} ${executable}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [socket]);
    else group.push(socket);
  }
  const ranges: PortRange[] = [];
  for (const group of groups.values()) {
    let first: ListeningSocket | undefined;
    let lastPort = 0;
    for (const socket of group.sort((a, b) => a.localPort - b.localPort)) {
      if (first !== undefined && socket.localPort > lastPort + 1) {
        ranges.push({ socket: first, lastPort });
        first = undefined;
      }
      first ??= socket;
      lastPort = socket.localPort;
    }
    if (first !== undefined) ranges.push({ socket: first, lastPort });
  }
  return ranges;
}

/** 0: reachable from outside; 1: loopback only, owned by root; 2: loopback only, owned by another user. */
function tierOf({ localAddress, userId }: ListeningSocket): number {
  if (localAddress !== '::1' && !localAddress.startsWith('127.')) return 0;
  return userId === 0 ? 1 : 2;
}

/** The first ranges of a process, and of a user, keep their place in the order of ports. */
const IN_PORT_ORDER = 32;

/** A range with its sort keys, computed once: computing them in the comparison would block the event loop for thousands. */
interface Ranked {
  readonly range: PortRange;
  readonly tier: number;
  rank: number;
}

/**
 * Orders ranges by importance: reachable from outside first, then root's, then the rest; within each, lower ports first.
 *
 * Beyond the first 32 ranges of a process or a user, the ranges of all processes and users alternate. A full message omits the
 * last rows, so a process could otherwise hide another one's port by opening many.
 */
export function inOrderOfImportance(ranges: readonly PortRange[]): readonly PortRange[] {
  const ranked = ranges.map((range): Ranked => ({ range, tier: tierOf(range.socket), rank: range.socket.localPort }));
  const sort = () => ranked.sort((a, b) => a.tier - b.tier || a.rank - b.rank);
  sort();
  alternate(ranked, ({ userId, pid }) => `${userId} ${pid}`);
  sort();
  alternate(ranked, ({ userId }) => String(ownerOfId(userId)));
  sort();
  return ranked.map(({ range }) => range);
}

/** Ranks each range by the number of earlier ranges of the same process or user. */
function alternate(ranked: readonly Ranked[], of: (socket: ListeningSocket) => string): void {
  const counts = new Map<string, number>();
  for (const each of ranked) {
    const key = `${each.tier} ${of(each.range.socket)}`;
    const before = counts.get(key) ?? 0;
    counts.set(key, before + 1);
    each.rank = Math.max(0, before - IN_PORT_ORDER);
  }
}
