import type { ListeningSocket } from '../contract/sources.ts';

/** A socket, and those of the same process at the same address with the ports behind its own. */
export interface PortRange {
  readonly socket: ListeningSocket;
  /** The socket's own port where the range has but one. */
  readonly lastPort: number;
}

/**
 * Puts adjacent ports of one process at one address together. Sockets that say the same in all, by SO_REUSEPORT, count
 * once.
 */
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

/** 0: can be reached from outside; 1: by programs of this machine, and is root's; 2: the rest. */
function tierOf({ localAddress, userId }: ListeningSocket): number {
  if (localAddress !== '::1' && !localAddress.startsWith('127.')) return 0;
  return userId === 0 ? 1 : 2;
}

/** As many of a process, and of a user, stay in the order of their ports. */
const UNDISTURBED = 32;

/** A range, and what it is sorted by. Sorting thousands by what must first be worked out would hold up the event loop. */
interface Ranked {
  readonly range: PortRange;
  readonly tier: number;
  rank: number;
}

/**
 * What can be reached from outside first, then root's, then the rest; within each, lower ports first.
 *
 * Of a process and of a user with many, those behind the first 32 come in turns with those of the others: each one's next,
 * and then each one's next but one. So nobody can open ports until another's falls off the end.
 */
export function inOrderOfImportance(ranges: readonly PortRange[]): readonly PortRange[] {
  const ranked = ranges.map((range): Ranked => ({ range, tier: tierOf(range.socket), rank: range.socket.localPort }));
  const sort = () => ranked.sort((a, b) => a.tier - b.tier || a.rank - b.rank);
  sort();
  takeTurns(ranked, ({ userId, pid }) => `${userId} ${pid}`);
  sort();
  takeTurns(ranked, ({ userId }) => String(userId));
  sort();
  return ranked.map(({ range }) => range);
}

/** Ranks each range by how many of the same process, or user, come before it. */
function takeTurns(ranked: readonly Ranked[], of: (socket: ListeningSocket) => string): void {
  const counts = new Map<string, number>();
  for (const each of ranked) {
    const key = `${each.tier} ${of(each.range.socket)}`;
    const before = counts.get(key) ?? 0;
    counts.set(key, before + 1);
    each.rank = Math.max(0, before - UNDISTURBED);
  }
}
