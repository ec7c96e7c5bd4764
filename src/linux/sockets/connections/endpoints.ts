import type { Clock } from '../../../base/clock.ts';
import { type Duration, milliseconds, minutes } from '../../../base/duration.ts';
import type { ConnectionSeen, SocketAddress } from '../../../contract/sources.ts';
import { findConnected, type Ports } from '../sock-diag.ts';
import { ClosedSockets, leastKeptFor, textOf } from './closed-sockets.ts';
import { type Listener, Listeners } from './listeners.ts';
import { once } from './once.ts';
import { inodeAt, isAlive, type ProcSocket } from './proc-sockets.ts';
import type { SocketLists } from './socket-lists.ts';
import type { KnownSocket, SocketTable } from './socket-table.ts';

/** A connection as its system call reports it. */
export interface Made {
  readonly time: Date;
  readonly direction: ConnectionSeen['direction'];
  readonly pid: number;
  readonly parentPid: number;
  readonly fd: number;
  readonly socket: KnownSocket;
  /** `undefined` when it is not known for certain. */
  readonly protocol: 'TCP' | 'UDP' | undefined;
  /** `undefined` when accept(2) was called without an address. */
  readonly remote: SocketAddress | undefined;
  /** The descriptor that accept(2) was called on; `isTcp` when its socket(2) call was seen and asked for TCP. */
  readonly listener: { readonly fd: number; readonly isTcp: boolean } | undefined;
}

/** Both ends of a connection. */
export interface Ends {
  readonly protocol: 'TCP' | 'UDP';
  /** Absent when it can no longer be determined. */
  readonly remote?: SocketAddress;
  readonly local?: Partial<SocketAddress>;
}

/** After this time a descriptor is assumed to be reused. A peer named by the system call remains valid. */
const LONGEST_AGE = minutes(1);

/** Where to look for a connection's socket. */
interface Lead {
  readonly made: Made;
  /** Time since the connection was made. */
  readonly age: Duration;
  readonly listener: Listener | undefined;
  /** `undefined` when the descriptor is closed or belongs to another socket by now. */
  readonly inode: number | undefined;
  /** Whether it may be among the closed connections that the kernel still keeps. */
  readonly mayBeKept: boolean;
}

/**
 * Finds what the system calls do not report: the local end, the protocol (TCP or UDP), and the peer of an accept(2) that
 * was called without an address.
 *
 * An open socket is found by its inode, which is unique and the same in /proc and in the kernel's lists. A closed one may
 * be found by its peer among the connections that TCP keeps for a minute. The lists are read at most once for each batch
 * of connections.
 */
export class Endpoints {
  readonly #clock: Clock;
  readonly #proc: string;
  readonly #table: SocketTable;
  readonly #lists: SocketLists;
  readonly #listeners: Listeners;

  constructor(parts: { clock: Clock; proc: string; table: SocketTable; lists: SocketLists }) {
    this.#clock = parts.clock;
    this.#proc = parts.proc;
    this.#table = parts.table;
    this.#lists = parts.lists;
    this.#listeners = new Listeners(parts.proc, parts.lists);
  }

  /** @returns the ends of each connection, or `undefined` for one that turns out not to be IP */
  find(all: readonly Made[]): (Ends | undefined)[] {
    const now = this.#clock.now().getTime();
    const taken = all.filter(({ listener }) => listener !== undefined);
    const listening = this.#listeners.lookUp(taken.map(({ pid, listener }) => ({ pid, fd: listener?.fd ?? -1 })));
    const listeners = new Map(taken.map((made, index) => [made, listening[index]]));
    const leadOf = this.#leads(now);
    const leads = all.map((made) => leadOf(made, listeners.get(made)));
    const sockets = new Map<number, ProcSocket>();
    const closed = new ClosedSockets();
    for (const protocol of ['TCP', 'UDP'] as const) this.#list(protocol, leads, sockets, closed);
    const missing = leads.filter(({ inode }) => inode !== undefined && !sockets.has(inode));
    const elsewhere = this.#lists.byProcNet(
      missing.map(({ made }) => made.pid),
      inodesOf(missing),
    );
    for (const [inode, socket] of elsewhere ?? []) sockets.set(inode, socket);
    return leads.map((lead) => endsOf(lead, sockets, closed));
  }

  #leads(now: number): (made: Made, listener: Listener | undefined) => Lead {
    const lives = once((pid: number) => isAlive(this.#proc, pid));
    const isInOwnNetwork = once((pid: number) => (lives(pid) ? this.#lists.isInOwnNetwork(pid) : undefined));
    return (made, listener) => {
      const { time, pid, parentPid, fd, socket, protocol, remote } = made;
      const age = milliseconds(Math.abs(now - time.getTime())); // negative if the clock was set back since then
      const lead = (found: number | undefined, mayBeKept: boolean): Lead => ({
        made,
        age,
        listener,
        inode: found,
        mayBeKept,
      });
      const isNone = listener === 'other' && remote === undefined;
      if (isNone || age > LONGEST_AGE) return lead(undefined, false);
      const isThere = lives(pid) && this.#table.isCurrent(pid, fd, socket);
      const inode = isThere ? inodeAt(this.#proc, pid, fd) : undefined;
      // A system call that is not read yet may have made this socket. `inodeBefore` shows when it was taken for an earlier one.
      if (inode !== undefined && inode !== socket.inodeBefore) return lead(inode, false);
      if (remote === undefined || protocol === 'UDP') return lead(undefined, false);
      return lead(undefined, isInOwnNetwork(pid) ?? isInOwnNetwork(parentPid) ?? false);
    };
  }

  /** Adds the sockets listed for this network namespace. */
  #list(
    protocol: 'TCP' | 'UDP',
    leads: readonly Lead[],
    sockets: Map<number, ProcSocket>,
    closed: ClosedSockets,
  ): void {
    const concerned = leads.filter(
      ({ made, inode, mayBeKept }) =>
        (made.protocol ?? protocol) === protocol && (inode !== undefined || (mayBeKept && protocol === 'TCP')),
    );
    if (concerned.length === 0) return;
    const ages = concerned.filter(({ mayBeKept }) => mayBeKept).map(({ age }) => age);
    const query = {
      ports: portsOf(concerned),
      inodes: inodesOf(concerned),
      keptForAtLeast: ages.length === 0 ? undefined : leastKeptFor(milliseconds(Math.max(...ages))),
    };
    this.#lists.bySockDiag((netlink) => {
      for (const socket of findConnected(netlink, protocol, query)) {
        const { inode, local, remote } = socket;
        if (inode === 0) closed.add(socket);
        else sockets.set(inode, { protocol, local, remote, inode });
      }
    });
  }
}

function endsOf(
  { made, age, listener, inode, mayBeKept }: Lead,
  sockets: ReadonlyMap<number, ProcSocket>,
  closed: ClosedSockets,
): Ends | undefined {
  const { remote, socket } = made;
  const seen = inode === undefined ? undefined : sockets.get(inode);
  if (seen?.remote !== undefined && (remote === undefined || textOf(remote) === textOf(seen.remote))) {
    socket.inode = seen.inode;
    return { protocol: seen.protocol, remote: remote ?? seen.remote, local: seen.local };
  }
  if (remote === undefined && (listener === 'other' || (listener === undefined && made.listener?.isTcp === false))) {
    // Unknown listener: the process was short-lived, and the socket is not IP, or its socket(2) call would have been seen.
    return undefined;
  }
  const left = mayBeKept && remote !== undefined ? closed.endOf(remote, age) : {};
  const local = { ...boundTo(listener), ...left };
  return {
    // Closed, and its socket(2) call was not seen, so it was long-lived and probably TCP: most UDP sockets are used once.
    protocol: made.protocol ?? 'TCP',
    ...(remote === undefined ? {} : { remote }),
    ...(Object.keys(local).length === 0 ? {} : { local }),
  };
}

/** What is known of the local end of a connection that this listener accepts. */
function boundTo(listener: Listener | undefined): Partial<SocketAddress> {
  if (listener === undefined || listener === 'other') return {};
  return listener.address === '0.0.0.0' || listener.address === '::' ? { port: listener.port } : listener;
}

/** The ports to ask the kernel for, or `undefined` when any port is possible. */
function portsOf(leads: readonly Lead[]): Ports | undefined {
  const [remote, local] = [new Set<number>(), new Set<number>()];
  for (const { made, listener } of leads) {
    if (made.remote !== undefined) remote.add(made.remote.port);
    else if (listener !== undefined && listener !== 'other') local.add(listener.port);
    else return undefined;
  }
  return { remote, local };
}

const inodesOf = (leads: readonly Lead[]): Set<number> =>
  new Set(leads.map(({ inode }) => inode).filter((inode) => inode !== undefined));
