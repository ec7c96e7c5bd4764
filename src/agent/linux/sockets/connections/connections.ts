import type { Clock } from '../../../../core/base/clock.ts';
import { Lane } from '../../../../core/base/lane.ts';
import type { Logger } from '../../../../core/base/log.ts';
import { isLoopback } from '../../../../core/contract/ip-network.ts';
import type { ConnectionSeen, SocketAddress, StreamSink } from '../../../../core/contract/streams.ts';
import { ProcFolder } from '../../../host/proc-folder.ts';
import type { AuditEvent } from '../../audit/event.ts';
import { NETLINK_SOCK_DIAG, type NetlinkSocket, openNetlink } from '../../native/netlink/socket.ts';
import type { Asked, CommandLineSource } from '../../processes/memory/command-lines.ts';
import type { HeldCount } from '../../source-state/held-count.ts';
import { Endpoints, type Made } from './endpoints.ts';
import type { protocolAt } from './proc-sockets.ts';
import { type Accept, type Connect, socketCallOf } from './socket-calls.ts';
import { SocketLists } from './socket-lists.ts';
import { type KnownSocket, SocketTable } from './socket-table.ts';

/** More than one drain usually yields. At this number, connections are reported before the drain ends. */
const MAX_PENDING = 1_024;
/** Records passed to the sink at a time. */
const RECORDS_PER_BATCH = 64;
/** Connections held until the arguments of their processes are read. Beyond that, they are reported without arguments. */
export const MAX_LATE = 1_024;

/** The process that made a connection. */
interface Caller {
  readonly time: Date;
  readonly serial: number;
  readonly pid: number;
  readonly parentPid: number;
  readonly userId: number;
  readonly executable: string;
}

interface Pending extends Made, Caller {
  /** Whether it was made through io_uring. */
  readonly byRing: boolean;
  /** `undefined` when the start of the process was not seen. */
  readonly commandLine: string | undefined;
}

interface Parts {
  readonly sink: StreamSink;
  readonly clock: Clock;
  readonly log: Logger;
  /** Whether loopback connections are reported, too. */
  readonly loopback: boolean;
  /** Whether a process is the agent itself. */
  readonly own: (pid: number) => boolean;
  /** The command line with which the process started this program, if the start was seen. */
  readonly commandLineOf: (pid: number, executable: string) => string | undefined;
  /** Reads the command lines of processes whose start was not seen. */
  readonly commandLines: CommandLineSource;
  /** Receives the number of connections that wait for arguments. */
  readonly held?: HeldCount | undefined;
  /** Called with arguments that were read. */
  readonly learned?: (pid: number, executable: string, argv: readonly string[]) => void;
  /** The host's /proc. */
  readonly proc?: string;
  readonly open?: () => NetlinkSocket;
  readonly protocolAt?: typeof protocolAt;
}

/**
 * Turns audit events for socket(2), connect(2), accept(2) and io_uring connects into connections.
 *
 * Audit reports the process and usually the peer. Everything else is looked up in the sockets: promptly, since many are
 * closed at once, and in one batch, since each lookup reads whole lists. So calls are collected as they arrive, and
 * `settle` reports the connections at the end of each drain of the audit socket.
 *
 * Counted as `unresolved`: an accept(2) without a peer address whose connection is already closed; a connection that may be of
 * TCP or UDP or of neither, since its descriptor was made for another protocol and may have been replaced by dup2(2); of
 * several io_uring connects in one system call, all but the last, since the kernel records the peer of the last one only; and
 * a call whose record lacks the process, its parent or the user.
 */
export class Connections {
  readonly #parts: Parts;
  readonly #proc: ProcFolder;
  readonly #table = new SocketTable();
  readonly #lists: SocketLists;
  readonly #endpoints: Endpoints;
  #pending: Pending[] = [];
  /** Keeps connections in order while some of them wait for arguments. */
  readonly #emissions = new Lane();
  #late = 0;
  /** Connections that could not be resolved and are still to be counted. */
  #unresolved = 0;

  constructor(parts: Parts) {
    const { clock, proc = '/proc', open = () => openNetlink(NETLINK_SOCK_DIAG) } = parts;
    this.#parts = parts;
    this.#proc = new ProcFolder(proc);
    this.#lists = new SocketLists({ clock, proc, open, protocolAt: parts.protocolAt });
    this.#endpoints = new Endpoints({ clock, proc, table: this.#table, lists: this.#lists });
  }

  /** Takes audit events in order. Events that do not concern sockets are ignored. */
  accept(events: readonly AuditEvent[]): void {
    for (const event of events) this.#take(event);
  }

  /** Reports all connections made since the last call. */
  settle(): void {
    if (this.#pending.length === 0 && this.#unresolved === 0) return;
    const { sink, loopback } = this.#parts;
    const made = this.#pending;
    this.#pending = [];
    const ends = this.#endpoints.find(made);
    const ready: ConnectionSeen[] = [];
    const late: ConnectionSeen[] = [];
    const processes = new Map<string, Asked | undefined>();
    for (const [index, connection] of made.entries()) {
      const { protocol, remote, local } = ends[index] ?? {};
      if (protocol === undefined || (!loopback && isOnLoopback(remote ?? local))) continue;
      if (remote === undefined) {
        this.#unresolved += 1;
        continue;
      }
      const { time, serial, direction, pid, parentPid, userId, executable, commandLine, byRing } = connection;
      const isLate = commandLine === undefined && this.#canAsk(connection, processes);
      (isLate ? late : ready).push({
        time,
        serial,
        direction,
        protocol,
        remote,
        ...(local === undefined ? {} : { local }),
        pid,
        parentPid,
        userId,
        executable,
        ...(commandLine === undefined ? {} : { commandLine }),
        ...(byRing ? { byRing } : {}),
      });
    }
    this.#emit(ready);
    this.#emitLate(late, processes);
    if (this.#unresolved > 0) sink.drop('connections', 'unresolved', this.#unresolved);
    this.#unresolved = 0;
  }

  /** Closes open sockets once everything is reported. The object can be used again afterwards. Never rejects. */
  async close(): Promise<void> {
    this.#lists.close();
    await this.#emissions.idle();
  }

  #emit(connections: readonly ConnectionSeen[]): void {
    for (let from = 0; from < connections.length; from += RECORDS_PER_BATCH) {
      this.#parts.sink.accept('connections', connections.slice(from, from + RECORDS_PER_BATCH));
    }
  }

  /** Whether its process is still running; if so, adds the process to those whose arguments are to be read. */
  #canAsk({ pid, userId, executable }: Caller, processes: Map<string, Asked | undefined>): boolean {
    const key = `${pid} ${executable}`;
    if (!processes.has(key)) {
      const startTicks = this.#proc.stat(pid)?.startTicks;
      processes.set(key, startTicks === undefined ? undefined : { pid, startTicks, userId, executable });
    }
    return processes.get(key) !== undefined;
  }

  /** Reports connections once the arguments of their processes are read; each process is read once. */
  #emitLate(connections: readonly ConnectionSeen[], processes: ReadonlyMap<string, Asked | undefined>): void {
    if (connections.length === 0) return;
    if (this.#late + connections.length > MAX_LATE) {
      this.#emit(connections);
      return;
    }
    const { commandLines, learned } = this.#parts;
    this.#hold(connections.length);
    const asked = [...processes.values()].filter((process) => process !== undefined);
    const reading = commandLines.read(asked);
    const emit = async () => {
      const answers = await reading;
      const known = new Map<string, string>();
      for (const [index, { pid, executable = '' }] of asked.entries()) {
        const answer = answers[index];
        if (answer === undefined || !('argv' in answer)) continue;
        known.set(`${pid} ${executable}`, answer.argv.join(' '));
        learned?.(pid, executable, answer.argv);
      }
      this.#emit(
        connections.map((connection) => {
          const commandLine = known.get(`${connection.pid} ${connection.executable}`);
          return commandLine === undefined ? connection : { ...connection, commandLine };
        }),
      );
    };
    // Counted as reported only when the sink has them: the count on disk is written after the events.
    this.#emissions.post(() => emit().finally(() => this.#hold(-connections.length)), this.#parts.log);
  }

  #hold(change: number): void {
    this.#late += change;
    this.#parts.held?.set(this.#late);
  }

  #take(event: AuditEvent): void {
    if (event.ringConnects !== undefined) {
      this.#connectedByRing(event, event.ringConnects);
      return;
    }
    const call = socketCallOf(event);
    if (call === undefined) return;
    const caller = callerOf(event);
    if (caller === undefined) {
      this.#unresolved += Number(call.call !== 'socket');
      return;
    }
    if (this.#parts.own(caller.pid)) return;
    if (call.call === 'socket') this.#table.made(caller.pid, call.fd, call.protocol);
    else if (call.call === 'accept') this.#taken(call, caller, event.address);
    else this.#connected(call, caller, event.address);
  }

  #taken({ fd, listener }: Accept, caller: Caller, peer: SocketAddress | undefined): void {
    const { pid, parentPid } = caller;
    const speaks = this.#table.find(pid, listener)?.protocol;
    const protocol = speaks === 'other' && peer !== undefined ? 'other' : 'TCP';
    // Without a peer it may be of another family.
    const socket = this.#table.made(pid, fd, peer === undefined ? undefined : protocol);
    if (!this.#isOfInterest(peer)) return;
    // The descriptor of a listener may be a copy, or inherited.
    const mayBeTcp = speaks === 'TCP' || this.#table.hasTcp(pid) || this.#table.hasTcp(parentPid);
    this.#add(caller, { direction: 'In', protocol, fd, socket, remote: peer, listener: { fd: listener, mayBeTcp } });
  }

  #connected({ fd, underWay }: Connect, caller: Caller, peer: SocketAddress | undefined): void {
    if (peer === undefined) return; // not an IP address
    const remote = loopbackIfUnspecified(peer);
    const socket = this.#table.at(caller.pid, fd);
    const before = socket.underWay;
    socket.underWay = underWay ? remote : undefined;
    // A second connect(2) that only fetches the result of one that was in progress, and that was reported if it was TCP.
    const isSame = before?.port === remote.port && before.address === remote.address;
    const isRepeated = !underWay && isSame && socket.protocol !== 'other';
    if (isRepeated || !this.#isOfInterest(remote)) return;
    // UDP does not wait, so a UDP connect is never in progress. SCTP's can be.
    const protocol = underWay && socket.protocol !== 'other' ? 'TCP' : socket.protocol;
    this.#add(caller, { direction: 'Out', protocol, fd, socket, remote, listener: undefined });
  }

  /**
   * An io_uring connect without an address is not reported: it is not IP, or a retry of one that was already reported. The
   * record does not name the socket.
   */
  #connectedByRing(event: AuditEvent, count: number): void {
    if (event.address === undefined) return;
    const caller = callerOf(event);
    if (caller === undefined) {
      this.#unresolved += count;
      return;
    }
    const { pid } = caller;
    if (this.#parts.own(pid)) return;
    this.#unresolved += count - 1;
    const remote = loopbackIfUnspecified(event.address);
    if (!this.#isOfInterest(remote)) return;
    const executable = event.fields.exe === undefined ? (this.#proc.executable(pid) ?? 'unknown') : caller.executable;
    const made = { direction: 'Out', protocol: undefined, fd: -1, socket: UNKNOWN_SOCKET, remote } as const;
    this.#add({ ...caller, executable }, { ...made, listener: undefined }, true);
  }

  #isOfInterest(peer: SocketAddress | undefined): boolean {
    return this.#parts.loopback || !isOnLoopback(peer);
  }

  #add(
    { time, serial, pid, parentPid, userId, executable }: Caller,
    made: Omit<Made, 'time' | 'pid' | 'parentPid'>,
    byRing = false,
  ): void {
    const { direction, protocol, fd, socket, remote, listener } = made;
    // Looked up now: a process that has exited may be forgotten when the connection is reported.
    const commandLine = this.#parts.commandLineOf(pid, executable);
    this.#pending.push({
      time,
      serial,
      pid,
      parentPid,
      userId,
      executable,
      commandLine,
      direction,
      protocol,
      fd,
      socket,
      remote,
      listener,
      byRing,
    });
    if (this.#pending.length >= MAX_PENDING) this.settle();
  }
}

/** The socket of a connection without a known descriptor. Never looked up and never changed. */
const UNKNOWN_SOCKET: KnownSocket = {
  protocol: undefined,
  underWay: undefined,
  inode: undefined,
  inodeBefore: undefined,
};

/** @returns `undefined` when the record lacks the process or the user */
function callerOf({ time, serial, fields }: AuditEvent): Caller | undefined {
  const [pid, parentPid, userId] = [idIn(fields.pid), idIn(fields.ppid), idIn(fields.euid)];
  if (pid === undefined || parentPid === undefined || userId === undefined) return undefined;
  const executable = fields.exe === undefined || fields.exe === '(null)' ? 'unknown' : fields.exe;
  return { time, serial, pid, parentPid, userId, executable };
}

const idIn = (text: string | undefined): number | undefined =>
  text !== undefined && /^\d{1,10}$/.test(text) ? Number(text) : undefined;

const isOnLoopback = (end: Partial<SocketAddress> | undefined): boolean =>
  end?.address !== undefined && isLoopback(end.address);

/** Connecting to the unspecified address connects to this host: ip_route_connect() and tcp_v6_connect(). */
const loopbackIfUnspecified = (end: SocketAddress): SocketAddress => {
  const here = LOOPBACK_OF.get(end.address);
  return here === undefined ? end : { address: here, port: end.port };
};

const LOOPBACK_OF: ReadonlyMap<string, string> = new Map([
  ['0.0.0.0', '127.0.0.1'],
  ['::', '::1'],
]);
