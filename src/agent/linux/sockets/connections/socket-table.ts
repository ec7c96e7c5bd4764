import type { SocketAddress } from '../../../../core/contract/streams.ts';
import type { Protocol } from './socket-calls.ts';

/** Known facts about a socket since the call that made it. */
export interface KnownSocket {
  /** What the socket was made for; `undefined` when that call was not seen. */
  readonly protocol: Protocol | undefined;
  /** The peer of a connect(2) in progress. The next connect(2) on the socket fetches its result: it is not a new connection. */
  underWay: SocketAddress | undefined;
  /** Its inode, when that was looked up. */
  inode: number | undefined;
  /** The inode of the socket that had this descriptor before. */
  readonly inodeBefore: number | undefined;
}

/** Sockets kept, about 200 bytes each; the oldest are removed first. */
const MAX_ENTRIES = 8_192;
/** Descriptors are always smaller: /proc/sys/fs/nr_open is at most 2^30. */
const DESCRIPTORS = 2 ** 30;

/**
 * The most recently made sockets, by process and descriptor. Closing, duplicating and passing on of descriptors is not audited,
 * so an entry can be out of date: it is a hint only. What /proc and sock_diag show of the socket takes precedence.
 */
export class SocketTable {
  readonly #sockets = new Map<number, KnownSocket>();
  /** Number of TCP sockets by process; no entry for none. */
  readonly #tcp = new Map<number, number>();

  /** Records that a system call returned this descriptor. */
  made(pid: number, fd: number, protocol: Protocol | undefined): KnownSocket {
    return this.#keep(pid * DESCRIPTORS + fd, protocol, this.find(pid, fd)?.inode);
  }

  /** The last socket known to have this descriptor. */
  find(pid: number, fd: number): KnownSocket | undefined {
    return this.#sockets.get(pid * DESCRIPTORS + fd);
  }

  /** Like `find`, but adds an entry for an unknown socket. */
  at(pid: number, fd: number): KnownSocket {
    return this.find(pid, fd) ?? this.#keep(pid * DESCRIPTORS + fd, undefined, undefined);
  }

  /** Whether no other socket has been seen with this descriptor since. */
  isCurrent(pid: number, fd: number, socket: KnownSocket): boolean {
    const current = this.find(pid, fd);
    return current === undefined || current === socket;
  }

  /** Whether a TCP socket is among those of this process. */
  hasTcp(pid: number): boolean {
    return this.#tcp.has(pid);
  }

  #keep(key: number, protocol: Protocol | undefined, inodeBefore: number | undefined): KnownSocket {
    const socket: KnownSocket = { protocol, underWay: undefined, inode: undefined, inodeBefore };
    this.#remove(key); // moves it to the end: the first entry is the oldest
    this.#sockets.set(key, socket);
    this.#count(key, protocol, 1);
    if (this.#sockets.size > MAX_ENTRIES) {
      for (const oldest of this.#sockets.keys()) {
        this.#remove(oldest);
        break;
      }
    }
    return socket;
  }

  #remove(key: number): void {
    this.#count(key, this.#sockets.get(key)?.protocol, -1);
    this.#sockets.delete(key);
  }

  #count(key: number, protocol: Protocol | undefined, by: 1 | -1): void {
    if (protocol !== 'TCP') return;
    const pid = Math.floor(key / DESCRIPTORS);
    const count = (this.#tcp.get(pid) ?? 0) + by;
    if (count > 0) this.#tcp.set(pid, count);
    else this.#tcp.delete(pid);
  }
}
