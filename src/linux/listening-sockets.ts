import { AgentError, messageOf, toAgentError } from '../base/errors.ts';
import type { ListeningSocket, SourceStatus } from '../contract/sources.ts';
import { interfaceNames } from './interfaces.ts';
import { NETLINK_SOCK_DIAG, type NetlinkSocket, openNetlink } from './netlink/socket.ts';
import { listSockets } from './proc-net.ts';
import { dump, PROTOCOL_NAMES, type WaitingSocket } from './sock-diag.ts';
import { SocketOwners } from './socket-owners.ts';

/** The sockets of this network namespace that wait for others: by sock_diag where it can be had, else from /proc/net. */
export class ListeningSockets {
  readonly #open: () => NetlinkSocket;
  readonly #proc: string;
  readonly #owners: SocketOwners;
  #status: SourceStatus = { state: 'off' };

  constructor({
    open = () => openNetlink(NETLINK_SOCK_DIAG),
    proc = '/proc',
  }: {
    open?: () => NetlinkSocket;
    proc?: string;
  } = {}) {
    this.#open = open;
    this.#proc = proc;
    this.#owners = new SocketOwners(proc);
  }

  /** How the last listing went. */
  status(): SourceStatus {
    return this.#status;
  }

  /**
   * @throws the signal's reason when it aborts, AgentError SOCKET_UNAVAILABLE when neither way works
   */
  async listening(signal: AbortSignal): Promise<readonly ListeningSocket[]> {
    signal.throwIfAborted();
    const sockets = await this.#list(signal);
    const owners = await this.#owners.of(
      sockets.map(({ inode }) => inode),
      signal,
    );
    const zones = sockets.some(({ interfaceIndex }) => interfaceIndex !== undefined)
      ? interfaceNames(this.#proc)
      : new Map<number, string>();
    return sockets.map(({ inode, interfaceIndex, ...socket }) => ({
      ...socket,
      ...(interfaceIndex === undefined ? {} : { zone: zones.get(interfaceIndex) ?? String(interfaceIndex) }),
      ...owners.get(inode),
    }));
  }

  async #list(signal: AbortSignal): Promise<WaitingSocket[]> {
    let reason: AgentError;
    try {
      const sockets = await this.#dump(signal);
      this.#status = { state: 'on', source: 'sockDiag' };
      return sockets;
    } catch (error) {
      signal.throwIfAborted();
      reason = toAgentError(error);
    }
    try {
      const sockets = await listSockets(signal, this.#proc);
      this.#status = { state: 'degraded', source: 'procNet', reason: reason.message };
      return sockets;
    } catch (error) {
      signal.throwIfAborted();
      const message = `Listening sockets can't be listed: ${reason.message}; ${messageOf(error)}`;
      this.#status = { state: 'unavailable', reason: message };
      throw new AgentError('SOCKET_UNAVAILABLE', message, 'Make /proc and netlink sock_diag visible to the agent.', {
        cause: error,
      });
    }
  }

  async #dump(signal: AbortSignal): Promise<WaitingSocket[]> {
    const netlink = this.#open();
    try {
      const sockets: WaitingSocket[] = [];
      for (const protocol of PROTOCOL_NAMES) {
        for (const socket of dump(netlink, protocol)) sockets.push(socket);
        await new Promise((resolve) => setImmediate(resolve));
        signal.throwIfAborted();
      }
      return sockets;
    } finally {
      netlink.close();
    }
  }
}
