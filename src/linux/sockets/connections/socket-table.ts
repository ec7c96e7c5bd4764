import type { SocketAddress } from '../../../contract/sources.ts';
import type { Protocol } from './socket-calls.ts';

/** What is remembered of a socket, from the call that made it on. */
export interface KnownSocket {
  /** `undefined` when the call that made it wasn't seen. */
  readonly protocol: Protocol | undefined;
  /** The peer that a connect(2) didn't wait for; the next call, which says that it has worked, is of no other connection. */
  underWay: SocketAddress | undefined;
  /** Number of its file, when it was looked at. */
  inode: number | undefined;
  /** The same of the socket that had this descriptor before. */
  readonly inodeBefore: number | undefined;
}

/** More than that, and those made longest ago are forgotten. Some 200 bytes each. */
const MOST = 8_192;
/** Descriptors are below this: /proc/sys/fs/nr_open goes up to 2^30. */
const DESCRIPTORS = 2 ** 30;

/**
 * The sockets that were made last, by process and descriptor. Nobody says when a descriptor is closed, or copied; so what
 * stands here may be out of date, and what can be seen of the socket itself goes before it.
 */
export class SocketTable {
  readonly #sockets = new Map<number, KnownSocket>();

  /** A call has given out this descriptor. */
  made(pid: number, fd: number, protocol: Protocol): KnownSocket {
    return this.#keep(pid * DESCRIPTORS + fd, protocol, this.find(pid, fd)?.inode);
  }

  /** The socket that has this descriptor, as far as anyone knows. */
  find(pid: number, fd: number): KnownSocket | undefined {
    return this.#sockets.get(pid * DESCRIPTORS + fd);
  }

  /** The same; one that was never seen before is remembered from now on. */
  at(pid: number, fd: number): KnownSocket {
    return this.find(pid, fd) ?? this.#keep(pid * DESCRIPTORS + fd, undefined, undefined);
  }

  /** Whether no other socket has been seen to get its descriptor since. */
  isCurrent(pid: number, fd: number, socket: KnownSocket): boolean {
    const current = this.find(pid, fd);
    return current === undefined || current === socket;
  }

  #keep(key: number, protocol: Protocol | undefined, inodeBefore: number | undefined): KnownSocket {
    const socket: KnownSocket = { protocol, underWay: undefined, inode: undefined, inodeBefore };
    this.#sockets.delete(key); // so that it becomes the youngest
    this.#sockets.set(key, socket);
    if (this.#sockets.size > MOST) {
      for (const oldest of this.#sockets.keys()) {
        this.#sockets.delete(oldest);
        break;
      }
    }
    return socket;
  }
}
