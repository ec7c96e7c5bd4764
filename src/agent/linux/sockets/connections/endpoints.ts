import { type Clock, type Moment, momentOf } from '../../../../core/base/clock.ts';
import { type Duration, milliseconds, minutes } from '../../../../core/base/duration.ts';
import type { ConnectionSeen, SocketAddress } from '../../../../core/contract/streams.ts';
import { findConnected, type Peers, type Ports } from '../sock-diag.ts';
import { ClosedSockets, leastKeptFor, textOf } from './closed-sockets.ts';
import { type Found, type Listener, Listeners } from './listeners.ts';
import { inodeAt, isAlive, type ProcSocket } from './proc-sockets.ts';
import type { Protocol } from './socket-calls.ts';
import type { SocketLists } from './socket-lists.ts';
import type { KnownSocket, SocketTable } from './socket-table.ts';

/** Calls `answer` once for each question and caches the result. */
export function once<K, V>(answer: (question: K) => V): (question: K) => V {
  const answers = new Map<K, V>();
  return (question) => {
    if (!answers.has(question)) answers.set(question, answer(question));
    return answers.get(question) as V;
  };
}

/** A connection as its system call reports it. */
export interface Made {
  readonly time: Date;
  readonly direction: ConnectionSeen['direction'];
  readonly pid: number;
  readonly parentPid: number;
  readonly fd: number;
  readonly socket: KnownSocket;
  /**
   * A hint: what the socket was made for that last had the descriptor, as far as audit reports. What the socket itself shows
   * takes precedence.
   */
  readonly protocol: Protocol | undefined;
  /** `undefined` when accept(2) was called without an address. */
  readonly remote: SocketAddress | undefined;
  /** The descriptor that accept(2) was called on; `mayBeTcp` when the process or its parent is known to have TCP sockets. */
  readonly listener: { readonly fd: number; readonly mayBeTcp: boolean } | undefined;
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
  /** When the connection was made, by the monotonic clock. */
  readonly madeAt: Duration;
  readonly found: Found | undefined;
  /** `undefined` when the descriptor is closed or belongs to another socket by now. */
  readonly inode: number | undefined;
  /** What the socket with this inode is, if that was asked. */
  readonly spoken: Protocol | undefined;
  /** The list to look in; both when `undefined`. */
  readonly protocol: 'TCP' | 'UDP' | undefined;
  /** Whether it may be among the closed connections that the kernel still keeps. */
  readonly mayBeKept: boolean;
}

/** What the kernel's lists show. */
interface Listed {
  /** Keyed by inode. */
  readonly sockets: Map<number, ProcSocket>;
  readonly closed: ClosedSockets;
  /** The protocol of sockets by their peer; of all that have the peer of a connection in doubt, and of some others. */
  readonly peers: Map<string, 'TCP' | 'UDP'>;
  /** Whether sock_diag listed the sockets of this network namespace. */
  isComplete: boolean;
  /** The processes whose lists in /proc/PID/net were read whole, for open sockets and their peers. */
  whole: ReadonlySet<number>;
}

/**
 * Finds what the system calls do not report: the local end, the protocol (TCP or UDP), and the peer of an accept(2) that
 * was called without an address.
 *
 * An open socket is found by its inode, which is unique and the same in /proc and in the kernel's lists. A closed one may
 * be found by its peer among the connections that TCP keeps for a minute. The lists are read at most once for each batch
 * of connections, and once more for those of another protocol than expected.
 *
 * A socket that was made for neither TCP nor UDP is in doubt: dup2(2) may have replaced it, and put it back. Only if it is open
 * and of another protocol still, and the lists of its network namespace, read whole, show no TCP or UDP socket with the peer,
 * is it taken for what it was made for.
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

  /**
   * @returns the ends of each connection, or `undefined` for one that turns out not to be of TCP or UDP; without a peer when it
   *   is not known which of the two it is
   */
  find(all: readonly Made[]): (Ends | undefined)[] {
    const now = momentOf(this.#clock);
    const taken = all.filter(({ listener }) => listener !== undefined);
    const listening = this.#listeners.lookUp(taken.map(({ pid, listener }) => ({ pid, fd: listener?.fd ?? -1 })));
    const listeners = new Map(taken.map((made, index) => [made, listening[index]]));
    const leadOf = this.#leads(now);
    const leads = all.map((made) => leadOf(made, listeners.get(made)));
    const listed: Listed = {
      sockets: new Map(),
      closed: new ClosedSockets(),
      peers: new Map(),
      isComplete: true,
      whole: new Set(),
    };
    for (const protocol of ['TCP', 'UDP'] as const) this.#list(protocol, leads, listed);
    const isMissing = ({ inode }: Lead) => inode !== undefined && !listed.sockets.has(inode);
    const missing = leads.filter(isMissing);
    const inodes = inodesOf(missing);
    listed.whole = this.#lists.byProcNet(
      missing.map(({ made }) => made.pid),
      { inodes, peers: peersInDoubt(missing) },
      (socket) => keep(socket, inodes, listed),
    );
    const corrected = leads.map((lead) => (isMissing(lead) ? this.#corrected(lead) : lead));
    const other = corrected.filter(({ protocol }, index) => protocol !== (leads[index]?.protocol ?? protocol));
    for (const protocol of ['TCP', 'UDP'] as const) this.#list(protocol, other, listed);
    return corrected.map((lead) => endsOf(lead, listed));
  }

  #leads({ wall, monotonic }: Moment): (made: Made, found: Found | undefined) => Lead {
    const lives = once((pid: number) => isAlive(this.#proc, pid));
    const isInOwnNetwork = once((pid: number) => (lives(pid) ? this.#lists.isInOwnNetwork(pid) : undefined));
    return (made, found) => {
      const { time, pid, parentPid, fd, socket, remote } = made;
      const age = milliseconds(Math.abs(wall - time.getTime())); // negative if the clock was set back since then
      const hint = made.protocol === 'other' ? undefined : made.protocol;
      const madeAt = milliseconds(monotonic - age);
      const gone: Lead = { made, madeAt, found, inode: undefined, spoken: undefined, protocol: hint, mayBeKept: false };
      if (age > LONGEST_AGE) return gone;
      const isThere = lives(pid) && this.#table.isCurrent(pid, fd, socket);
      const current = isThere ? inodeAt(this.#proc, pid, fd) : undefined;
      // A system call that is not read yet may have made this socket. `inodeBefore` shows when it was taken for an earlier one.
      const inode = current === socket.inodeBefore ? undefined : current;
      // The listener may have been replaced since.
      const isNone = found?.isOpen === true && found.listener === 'other' && remote === undefined;
      const isAsked = inode !== undefined && (made.protocol === 'other' || isNone);
      const spoken = isAsked ? this.#lists.protocolAt(pid, fd, inode) : undefined;
      if (isNone && spoken !== 'TCP') return gone;
      const lead: Lead = { ...gone, inode, spoken, protocol: spoken === 'other' ? hint : (spoken ?? hint) };
      if (!isInDoubt(lead) && inode !== undefined) return lead;
      if (remote === undefined || hint === 'UDP') return lead;
      return { ...lead, mayBeKept: isInOwnNetwork(pid) ?? isInOwnNetwork(parentPid) ?? false };
    };
  }

  /** For an open socket that is in no list: the lead with its actual protocol, if that is not the expected one. */
  #corrected(lead: Lead): Lead {
    const { made, inode } = lead;
    if (inode === undefined || made.listener !== undefined || made.protocol === 'other') return lead;
    const spoken = this.#lists.protocolAt(made.pid, made.fd, inode);
    // Another protocol shows nothing here: the descriptor may belong to another socket by now.
    return spoken === undefined || spoken === 'other' ? lead : { ...lead, spoken, protocol: spoken };
  }

  /** Adds the sockets listed for this network namespace. */
  #list(protocol: 'TCP' | 'UDP', leads: readonly Lead[], listed: Listed): void {
    const concerned = leads.filter(
      (lead) =>
        (lead.protocol ?? protocol) === protocol &&
        (lead.inode !== undefined || isInDoubt(lead) || (lead.mayBeKept && protocol === 'TCP')),
    );
    if (concerned.length === 0) return;
    const times = concerned.filter(({ mayBeKept }) => mayBeKept).map(({ madeAt }) => madeAt);
    const oldest = Math.min(...times);
    const inodes = inodesOf(concerned);
    const query = {
      ports: portsOf(concerned),
      inodes,
      peers: peersInDoubt(concerned),
      keptForAtLeast: () => leastKeptFor(milliseconds(this.#clock.monotonic() - oldest)),
    };
    const read = this.#lists.bySockDiag(protocol, (netlink) => {
      const found = findConnected(netlink, protocol, query);
      const now = this.#clock.monotonic();
      for (const socket of found) {
        if (socket.keptFor !== undefined) listed.closed.add(socket, now);
        if (!socket.isClosed) keep({ protocol, ...socket }, inodes, listed);
      }
      return true;
    });
    if (read === undefined) listed.isComplete = false;
  }
}

/** Whether it may be of TCP or UDP, although the socket was made for something else. */
const isInDoubt = ({ made, spoken }: Lead): boolean =>
  made.protocol === 'other' && made.remote !== undefined && (spoken === undefined || spoken === 'other');

/** The peers of connections in doubt. */
function peersInDoubt(leads: readonly Lead[]): Peers {
  const peers = new Map<number, Set<string>>();
  for (const { remote } of leads.filter(isInDoubt).map(({ made }) => made)) {
    if (remote !== undefined) peers.set(remote.port, (peers.get(remote.port) ?? new Set()).add(remote.address));
  }
  return peers;
}

/** Adds a listed socket: one of those with these inodes, one that has the peer of a connection in doubt, or both. */
function keep(socket: ProcSocket, inodes: ReadonlySet<number>, { sockets, peers }: Listed): void {
  const { inode, protocol, remote } = socket;
  if (inodes.has(inode)) sockets.set(inode, socket);
  if (remote !== undefined) peers.set(textOf(remote), protocol);
}

function endsOf(lead: Lead, { sockets, closed, peers, isComplete, whole }: Listed): Ends | undefined {
  const { made, madeAt, found, inode, spoken, protocol, mayBeKept } = lead;
  const { remote, socket } = made;
  const seen = inode === undefined ? undefined : sockets.get(inode);
  if (seen?.remote !== undefined && (remote === undefined || textOf(remote) === textOf(seen.remote))) {
    socket.inode = seen.inode;
    return { protocol: seen.protocol, remote: remote ?? seen.remote, local: seen.local };
  }
  const { listener, isOpen = false } = found ?? {};
  if (remote === undefined) {
    if (isOpen) return listener === 'other' && spoken !== 'TCP' ? undefined : { protocol: 'TCP', ...localOf(listener) };
    // Without a TCP socket, a short-lived process accepts connections of other families only, unless one was passed to it.
    return isEndpoint(listener) || made.listener?.mayBeTcp === true ? { protocol: 'TCP' } : undefined;
  }
  if (isInDoubt(lead) && !isEndpoint(listener)) {
    const met = peers.get(textOf(remote)) ?? (mayBeKept && closed.has(remote, madeAt) ? 'TCP' : undefined);
    if (met !== undefined) return { protocol: met, remote };
    const isOther = spoken === 'other' || (isOpen && listener === 'other');
    const isLookedFor = (isComplete && mayBeKept) || (inode !== undefined && whole.has(made.pid));
    return isOther && isLookedFor ? undefined : { protocol: 'TCP' };
  }
  const left = mayBeKept ? closed.endOf(remote, madeAt) : {};
  // Closed, and its socket(2) call was not seen, so it was long-lived and probably TCP: most UDP sockets are used once.
  return { protocol: protocol ?? 'TCP', remote, ...localOf(listener, left) };
}

const isEndpoint = (listener: Listener | undefined): listener is SocketAddress => typeof listener === 'object';

function localOf(listener: Listener | undefined, left: Partial<SocketAddress> = {}): Pick<Ends, 'local'> {
  const local = { ...boundTo(listener), ...left };
  return Object.keys(local).length === 0 ? {} : { local };
}

/** Known facts about the local end of a connection that this listener accepts. */
function boundTo(listener: Listener | undefined): Partial<SocketAddress> {
  if (!isEndpoint(listener)) return {};
  return listener.address === '0.0.0.0' || listener.address === '::' ? { port: listener.port } : listener;
}

/** The ports to ask the kernel for, or `undefined` when any port is possible. */
function portsOf(leads: readonly Lead[]): Ports | undefined {
  const [remote, local] = [new Set<number>(), new Set<number>()];
  for (const { made, found } of leads) {
    if (made.remote !== undefined) remote.add(made.remote.port);
    else if (isEndpoint(found?.listener)) local.add(found.listener.port);
    else return undefined;
  }
  return { remote, local };
}

const inodesOf = (leads: readonly Lead[]): Set<number> =>
  new Set(leads.map(({ inode }) => inode).filter((inode) => inode !== undefined));
