import { createHash } from 'node:crypto';
import { type Clock, systemClock } from '../../../core/base/clock.ts';
import { AgentError, errnoOf, messageOf, toAgentError } from '../../../core/base/errors.ts';
import { Turn } from '../../../core/base/waiting.ts';
import type { ListeningSocket, ListingStatus, SourceStatus } from '../../../core/contract/sources.ts';
import { interfaceNames } from '../machine/interfaces.ts';
import { NETLINK_SOCK_DIAG, type NetlinkSocket, openNetlink } from '../native/netlink/socket.ts';
import { listSockets } from './proc-net.ts';
import { dumpEach, PROTOCOL_NAMES, type WaitingSocket } from './sock-diag.ts';
import { SocketOwners } from './socket-owners.ts';
import { SocketSelection } from './socket-selection.ts';

/** UDP sockets that are remembered from one look to the next. */
const MAX_REMEMBERED_SOCKETS = 8_192;

/**
 * What differs when sockets are opened or closed, without the processes that hold them, which take most of the time to find.
 *
 * A UDP socket counts when two looks in a row have found it: resolvers open one for each query, and each would look like a new
 * port.
 */
export class SocketTrace {
  #udp: ReadonlySet<number> = new Set();

  /** @throws what `dumpEach` throws */
  async take(netlink: NetlinkSocket, pace: () => Promise<void>): Promise<string> {
    const before = this.#udp;
    const udp = new Set<number>();
    const digest = createHash('sha256');
    for (const protocol of PROTOCOL_NAMES) {
      let text = `${protocol} `;
      const take = ({ inode, localPort }: WaitingSocket) => {
        if (protocol === 'udp' || protocol === 'udp6') {
          if (udp.size < MAX_REMEMBERED_SOCKETS) udp.add(inode);
          // With more of them than are remembered, each counts at once.
          if (!before.has(inode) && before.size < MAX_REMEMBERED_SOCKETS) return;
        }
        text += `${inode}:${localPort} `;
      };
      await dumpEach(netlink, protocol, take, async () => {
        digest.update(text);
        text = '';
        await pace();
      });
    }
    this.#udp = udp;
    return digest.digest('base64');
  }
}

/** The listening sockets of this network namespace: by sock_diag if available, else from /proc/net. */
export class ListeningSockets {
  readonly #open: () => NetlinkSocket;
  readonly #proc: string;
  readonly #clock: Clock;
  readonly #owners: SocketOwners;
  readonly #trace = new SocketTrace();
  #status: ListingStatus = { state: 'off' };

  constructor({
    open = () => openNetlink(NETLINK_SOCK_DIAG),
    proc = '/proc',
    clock = systemClock,
    owners = new SocketOwners(proc, clock),
  }: {
    open?: () => NetlinkSocket;
    proc?: string;
    clock?: Clock;
    owners?: SocketOwners;
  } = {}) {
    this.#open = open;
    this.#proc = proc;
    this.#clock = clock;
    this.#owners = owners;
  }

  /** How the last listing went. */
  status(): ListingStatus {
    return this.#status;
  }

  /** See SocketTrace. `undefined` where the kernel lacks sock_diag. */
  async trace(signal: AbortSignal): Promise<string | undefined> {
    try {
      return await this.#asking((netlink) => this.#trace.take(netlink, this.#pace(signal)));
    } catch {
      return undefined;
    }
  }

  /**
   * Sockets reachable from outside come first; within the limits of SocketSelection. Yields to the event loop every few
   * milliseconds.
   *
   * @throws the signal's reason when it aborts, AgentError SOCKET_UNAVAILABLE when both sources fail
   */
  async listening(signal: AbortSignal): Promise<readonly ListeningSocket[]> {
    signal.throwIfAborted();
    const pace = this.#pace(signal);
    const { kept, status } = await this.#list(pace, signal);
    const { owners, notSearched } = await this.#owners.of([...kept.outside, ...kept.loopback].map(inodeOf), signal);
    const zones = new Map<number, string>();
    if (kept.outside.some(({ interfaceIndex }) => interfaceIndex !== undefined))
      for (const [index, name] of interfaceNames(this.#proc)) zones.set(index, name);
    const sockets: ListeningSocket[] = [];
    // Undefined members are set, too: there may be tens of thousands of sockets, and V8 keeps one shape for all.
    for (const list of [kept.outside, kept.loopback]) {
      for (const { protocol, localAddress, localPort, userId, inode, interfaceIndex } of list) {
        const owner = owners.get(inode);
        sockets.push({
          protocol,
          localAddress,
          localPort,
          zone: interfaceIndex === undefined ? undefined : (zones.get(interfaceIndex) ?? String(interfaceIndex)),
          userId,
          pid: owner?.pid,
          executable: owner?.executable,
        });
        if (sockets.length % 200 === 0) await pace();
      }
    }
    this.#status = statusOf(status, kept, notSearched);
    return sockets;
  }

  async #list(
    pace: () => Promise<void>,
    signal: AbortSignal,
  ): Promise<{ kept: SocketSelection; status: SourceStatus }> {
    let reason: AgentError;
    try {
      return { kept: await this.#dump(pace), status: { state: 'on', source: 'sockDiag' } };
    } catch (error) {
      signal.throwIfAborted();
      reason = errnoOf(error) === 'ENOENT' ? withoutInetDiag(error) : toAgentError(error);
    }
    try {
      const kept = new SocketSelection();
      await listSockets((socket) => kept.add(socket), signal, this.#proc);
      return { kept, status: { state: 'degraded', source: 'procNet', reason: `${reason.message} ${reason.remedy}` } };
    } catch (error) {
      signal.throwIfAborted();
      const message = `Listening sockets can't be listed: ${reason.message}; ${messageOf(error)}`;
      this.#status = { state: 'unavailable', reason: message };
      throw new AgentError('SOCKET_UNAVAILABLE', message, 'Make /proc and netlink sock_diag visible to the agent.', {
        cause: error,
      });
    }
  }

  async #dump(pace: () => Promise<void>): Promise<SocketSelection> {
    const kept = new SocketSelection();
    await this.#asking(async (netlink) => {
      for (const protocol of PROTOCOL_NAMES) await dumpEach(netlink, protocol, (socket) => kept.add(socket), pace);
    });
    return kept;
  }

  async #asking<T>(ask: (netlink: NetlinkSocket) => Promise<T>): Promise<T> {
    const netlink = this.#open();
    try {
      return await ask(netlink);
    } finally {
      netlink.close();
    }
  }

  /** Yields to the event loop every few milliseconds. */
  #pace(signal: AbortSignal): () => Promise<void> {
    const turn = new Turn(this.#clock);
    return async () => {
      if (turn.isOver()) await turn.next();
      signal.throwIfAborted();
    };
  }
}

/** sock_diag exists, but the kernel has no handler for TCP or UDP. */
const withoutInetDiag = (cause: unknown) =>
  new AgentError(
    'SOCKET_UNAVAILABLE',
    'The kernel has no inet_diag for TCP or for UDP.',
    'Use a kernel with CONFIG_INET_DIAG, CONFIG_INET_TCP_DIAG and CONFIG_INET_UDP_DIAG, built in or as modules that can be loaded.',
    { cause },
  );

const inodeOf = ({ inode }: WaitingSocket): number => inode;

function statusOf(
  status: SourceStatus,
  { leftOut, leftOutBy }: Pick<SocketSelection, 'leftOut' | 'leftOutBy'>,
  notSearched: number,
): ListingStatus {
  const reasons = [
    ...(status.reason === undefined ? [] : [status.reason]),
    ...(leftOut === 0 ? [] : [`${leftOut} sockets are not listed: the limit of sockets kept in memory is reached.`]),
    ...(notSearched === 0
      ? []
      : [`${notSearched} sockets are listed without a process: the limit of descriptors searched is reached.`]),
  ];
  if (leftOut === 0 && notSearched === 0) return status;
  return {
    ...status,
    state: 'degraded',
    reason: reasons.join(' '),
    ...(leftOut === 0 ? {} : { leftOut }),
    ...(leftOut === 0 || leftOutBy === undefined ? {} : { leftOutBy }),
  };
}
