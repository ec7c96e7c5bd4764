import type { Clock } from '../../../base/clock.ts';
import type { Logger } from '../../../base/log.ts';
import { TaskChain } from '../../../base/task-chain.ts';
import type { ConnectionSeen, SocketAddress, StreamSink } from '../../../contract/sources.ts';
import { isLoopback } from '../../../host/ip-address.ts';
import { ProcFolder } from '../../../host/proc-folder.ts';
import type { AuditEvent } from '../../audit/event.ts';
import { NETLINK_SOCK_DIAG, type NetlinkSocket, openNetlink } from '../../native/netlink/socket.ts';
import type { Asked, CommandLineSource } from '../../processes/memory/command-lines.ts';
import type { HeldCount } from '../../streams/held-count.ts';
import { Endpoints, type Made } from './endpoints.ts';
import { type Accept, type Connect, socketCallOf } from './socket-calls.ts';
import { SocketLists } from './socket-lists.ts';
import { type KnownSocket, SocketTable } from './socket-table.ts';

/** More than a drain mostly brings; with as many, they are told before it ends. */
const MOST_PENDING = 1_024;
/** Records handed over at a time. */
const RECORDS_PER_BATCH = 64;
/** Connections that wait for their processes' arguments. With more, they are told without arguments. */
export const MOST_LATE = 1_024;

/** Who made a connection. */
interface Caller {
  readonly time: Date;
  readonly serial: number;
  readonly pid: number;
  readonly parentPid: number;
  readonly userId: number;
  readonly executable: string;
}

interface Pending extends Made, Caller {
  /** By io_uring. */
  readonly byRing: boolean;
  /** `undefined` when nobody saw the process start. */
  readonly commandLine: string | undefined;
}

interface Parts {
  readonly sink: StreamSink;
  readonly clock: Clock;
  readonly log: Logger;
  /** Whether connections of this machine with itself are told, too. */
  readonly loopback: boolean;
  /** Whether a process is the agent itself. */
  readonly own: (pid: number) => boolean;
  /** How a process was started that now is this program, if anybody saw it. */
  readonly commandLineOf: (pid: number, executable: string) => string | undefined;
  /** Reads how the others were started. */
  readonly commandLines: CommandLineSource;
  /** Told how many connections wait for arguments. */
  readonly held?: HeldCount | undefined;
  /** Told what was read. */
  readonly learned?: (pid: number, executable: string, argv: readonly string[]) => void;
  /** The host's /proc. */
  readonly proc?: string;
  readonly open?: () => NetlinkSocket;
}

/**
 * Makes connections of what the kernel's audit says of socket(2), connect(2) and accept(2), and of connects by io_uring.
 *
 * Audit names the process, and mostly the peer. The rest must be asked of the sockets themselves: soon, since many are
 * closed at once; and all together, since that is what asking costs. So calls are taken as they come, and connections are
 * told by `settle`, at the end of every drain of audit's socket.
 *
 * An accept(2) that wasn't asked for the peer, of a connection that is closed by then, is counted as `unresolved`; so are,
 * of several connects by io_uring in one system call, all but the last, the only one whose peer the kernel tells.
 */
export class Connections {
  readonly #parts: Parts;
  readonly #proc: ProcFolder;
  readonly #table = new SocketTable();
  readonly #lists: SocketLists;
  readonly #endpoints: Endpoints;
  #pending: Pending[] = [];
  /** Connections are told in their order, once arguments are there for those that wait for some. */
  readonly #telling: TaskChain;
  #late = 0;
  /** Connections that nothing can be told of. */
  #unresolved = 0;

  constructor(parts: Parts) {
    const { clock, proc = '/proc', open = () => openNetlink(NETLINK_SOCK_DIAG) } = parts;
    this.#parts = parts;
    this.#telling = new TaskChain(parts.log);
    this.#proc = new ProcFolder(proc);
    this.#lists = new SocketLists({ clock, proc, open });
    this.#endpoints = new Endpoints({ clock, proc, table: this.#table, lists: this.#lists });
  }

  /** Takes events of audit, in their order. Those that have nothing to do with sockets are passed over. */
  accept(events: readonly AuditEvent[]): void {
    for (const event of events) this.#take(event);
  }

  /** Tells all connections that were made since the last time. */
  settle(): void {
    if (this.#pending.length === 0 && this.#unresolved === 0) return;
    const { sink, loopback } = this.#parts;
    const made = this.#pending;
    this.#pending = [];
    const ends = this.#endpoints.find(made);
    const told: ConnectionSeen[] = [];
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
      (isLate ? late : told).push({
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
    this.#tell(told);
    this.#tellLate(late, processes);
    if (this.#unresolved > 0) sink.drop('connections', 'unresolved', this.#unresolved);
    this.#unresolved = 0;
  }

  /** Lets go of what is open, once all is told. It can still be used afterwards. Never rejects. */
  async close(): Promise<void> {
    this.#lists.close();
    await this.#telling.settled();
  }

  #tell(connections: readonly ConnectionSeen[]): void {
    for (let from = 0; from < connections.length; from += RECORDS_PER_BATCH) {
      this.#parts.sink.accept('connections', connections.slice(from, from + RECORDS_PER_BATCH));
    }
  }

  /** Whether its process still runs; if so, adds what to ask about it. */
  #canAsk({ pid, userId, executable }: Caller, processes: Map<string, Asked | undefined>): boolean {
    const key = `${pid} ${executable}`;
    if (!processes.has(key)) {
      const startTicks = this.#proc.stat(pid)?.startTicks;
      processes.set(key, startTicks === undefined ? undefined : { pid, startTicks, userId, executable });
    }
    return processes.get(key) !== undefined;
  }

  /** Tells connections once the arguments of their processes have been read, of each process but once. */
  #tellLate(connections: readonly ConnectionSeen[], processes: ReadonlyMap<string, Asked | undefined>): void {
    if (connections.length === 0) return;
    if (this.#late + connections.length > MOST_LATE) {
      this.#tell(connections);
      return;
    }
    const { commandLines, learned } = this.#parts;
    this.#hold(connections.length);
    const asked = [...processes.values()].filter((process) => process !== undefined);
    const reading = commandLines.read(asked);
    const tell = async () => {
      const answers = await reading;
      const known = new Map<string, string>();
      for (const [index, { pid, executable = '' }] of asked.entries()) {
        const answer = answers[index];
        if (answer === undefined || !('argv' in answer)) continue;
        known.set(`${pid} ${executable}`, answer.argv.join(' '));
        learned?.(pid, executable, answer.argv);
      }
      this.#tell(
        connections.map((connection) => {
          const commandLine = known.get(`${connection.pid} ${connection.executable}`);
          return commandLine === undefined ? connection : { ...connection, commandLine };
        }),
      );
    };
    // Noted as told once the sink has them: the note is written behind the events.
    this.#telling.run(() => tell().finally(() => this.#hold(-connections.length)));
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
    const { pid } = caller;
    const socket = this.#table.made(pid, fd, 'TCP');
    const speaks = this.#table.find(pid, listener)?.protocol;
    if (speaks === 'other' || !this.#isOfInterest(peer)) return;
    this.#add(caller, {
      direction: 'In',
      protocol: 'TCP',
      fd,
      socket,
      remote: peer,
      listener: { fd: listener, isTcp: speaks === 'TCP' },
    });
  }

  #connected({ fd, underWay }: Connect, caller: Caller, peer: SocketAddress | undefined): void {
    if (peer === undefined) return; // of another family
    const remote = hereIfUnspecified(peer);
    const socket = this.#table.at(caller.pid, fd);
    const before = socket.underWay;
    socket.underWay = underWay ? remote : undefined;
    // The call that only tells a program that what it began before has come about.
    const isRepeated = !underWay && before?.port === remote.port && before.address === remote.address;
    if (isRepeated || socket.protocol === 'other' || !this.#isOfInterest(remote)) return;
    // UDP has nothing to wait for, so that it is never under way.
    const protocol = socket.protocol ?? (underWay ? 'TCP' : undefined);
    this.#add(caller, { direction: 'Out', protocol, fd, socket, remote, listener: undefined });
  }

  /**
   * Without an address there is nothing to tell: it is of another family, or the second try of one that has been told. The
   * record doesn't say which socket it was.
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
    const remote = hereIfUnspecified(event.address);
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
    // Asked now, since a process that has ended may be forgotten by the time that all is told.
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
    if (this.#pending.length >= MOST_PENDING) this.settle();
  }
}

/** One that no descriptor is known of; never looked at, so that it stays as it is. */
const UNKNOWN_SOCKET: KnownSocket = {
  protocol: undefined,
  underWay: undefined,
  inode: undefined,
  inodeBefore: undefined,
};

/** @returns `undefined` when the record doesn't say who it was */
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

/** To connect to no address in particular is to connect to this machine: ip_route_connect() and tcp_v6_connect(). */
const hereIfUnspecified = (end: SocketAddress): SocketAddress => {
  const here = HERE.get(end.address);
  return here === undefined ? end : { address: here, port: end.port };
};

const HERE: ReadonlyMap<string, string> = new Map([
  ['0.0.0.0', '127.0.0.1'],
  ['::', '::1'],
]);
