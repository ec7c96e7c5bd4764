import type { SocketAddress } from '../../../../core/contract/streams.ts';
import { dump } from '../sock-diag.ts';
import { inodeAt, isAlive } from './proc-sockets.ts';
import type { SocketLists } from './socket-lists.ts';

/**
 * What a listening descriptor is: a TCP endpoint, something else, or, while it is open, possibly TCP: no longer listening, or
 * the lists could not be read.
 */
export type Listener = SocketAddress | 'other' | 'unknown';

/** Known facts about the listener of a connection. */
export interface Found {
  /** For a closed listener: the last one known. */
  readonly listener: Listener | undefined;
  /** Whether the descriptor still refers to a socket. */
  readonly isOpen: boolean;
}

interface Open {
  readonly pid: number;
  readonly fd: number;
  readonly inode: number;
}

const MAX_ENTRIES = 256;

/** Listening sockets by process and descriptor. Cached: servers have few and keep them for long. */
export class Listeners {
  readonly #proc: string;
  readonly #lists: SocketLists;
  /** What the socket with this inode is. */
  readonly #known = new Map<string, { readonly inode: number; readonly listener: Listener }>();

  constructor(proc: string, lists: SocketLists) {
    this.#proc = proc;
    this.#lists = lists;
  }

  /** @returns the result for each, in the same order */
  lookUp(descriptors: readonly { readonly pid: number; readonly fd: number }[]): Found[] {
    const keys = descriptors.map(({ pid, fd }) => `${pid} ${fd}`);
    const open = new Map<string, Open>();
    for (const [key, descriptor] of new Map(keys.map((key, index) => [key, descriptors[index]]))) {
      const { pid = 0, fd = -1 } = descriptor ?? {};
      const inode = isAlive(this.#proc, pid) ? inodeAt(this.#proc, pid, fd) : undefined;
      if (inode !== undefined) open.set(key, { pid, fd, inode });
    }
    const news = new Map([...open].filter(([key, { inode }]) => inode !== this.#known.get(key)?.inode));
    if (news.size > 0) this.#learn(news);
    const found = keys.map((key): Found => {
      const isOpen = open.has(key);
      return { listener: this.#known.get(key)?.listener ?? (isOpen ? 'unknown' : undefined), isOpen };
    });
    this.#forgetOldest();
    return found;
  }

  #learn(news: ReadonlyMap<string, Open>): void {
    const inDoubt: [string, Open, isTcp: boolean][] = [];
    for (const [key, open] of news) {
      this.#known.delete(key);
      const protocol = this.#lists.protocolAt(open.pid, open.fd, open.inode);
      if (protocol === undefined || protocol === 'TCP') inDoubt.push([key, open, protocol === 'TCP']);
      else this.#known.set(key, { inode: open.inode, listener: 'other' });
    }
    if (inDoubt.length === 0) return;
    const here = this.#lists.bySockDiag('TCP', (netlink) => [...dump(netlink, 'tcp'), ...dump(netlink, 'tcp6')]);
    const ends = new Map<number, Listener>(
      here?.map(({ inode, localAddress: address, localPort: port, interfaceIndex }) => [
        inode,
        { address, port, ...(interfaceIndex === undefined ? {} : { interfaceIndex }) },
      ]),
    );
    const missing = inDoubt.map(([, open]) => open).filter(({ inode }) => !ends.has(inode));
    const whole = this.#lists.byProcNet(
      missing.map(({ pid }) => pid),
      { inodes: new Set(missing.map(({ inode }) => inode)) },
      ({ inode, local, remote }) => remote === undefined && ends.set(inode, local),
    );
    for (const [key, { pid, inode }, isTcp] of inDoubt) {
      const isLookedFor = whole.has(pid) || (here !== undefined && this.#lists.isInOwnNetwork(pid) === true);
      const listener = ends.get(inode) ?? (isLookedFor && !isTcp ? 'other' : undefined);
      if (listener !== undefined) this.#known.set(key, { inode, listener });
    }
  }

  #forgetOldest(): void {
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= MAX_ENTRIES) break;
      this.#known.delete(oldest);
    }
  }
}
