import type { SocketAddress } from '../../../contract/sources.ts';
import { dump } from '../sock-diag.ts';
import { inodeAt, isAlive } from './proc-sockets.ts';
import type { SocketLists } from './socket-lists.ts';

/** What a listening descriptor is: a TCP endpoint, or something else. */
export type Listener = SocketAddress | 'other';

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
  lookUp(descriptors: readonly { readonly pid: number; readonly fd: number }[]): (Listener | undefined)[] {
    const keys = descriptors.map(({ pid, fd }) => `${pid} ${fd}`);
    const news = new Map<string, { readonly pid: number; readonly inode: number }>();
    for (const [key, descriptor] of new Map(keys.map((key, index) => [key, descriptors[index]]))) {
      const { pid = 0, fd = -1 } = descriptor ?? {};
      const inode = isAlive(this.#proc, pid) ? inodeAt(this.#proc, pid, fd) : undefined;
      if (inode !== undefined && inode !== this.#known.get(key)?.inode) news.set(key, { pid, inode });
    }
    if (news.size > 0) this.#learn(news);
    return keys.map((key) => this.#known.get(key)?.listener);
  }

  #learn(news: ReadonlyMap<string, { readonly pid: number; readonly inode: number }>): void {
    const here = this.#lists.bySockDiag((netlink) => [...dump(netlink, 'tcp'), ...dump(netlink, 'tcp6')]);
    const ends = new Map<number, Listener>(
      here?.map(({ inode, localAddress: address, localPort: port, interfaceIndex }) => [
        inode,
        { address, port, ...(interfaceIndex === undefined ? {} : { interfaceIndex }) },
      ]),
    );
    const missing = [...news.values()].filter(({ inode }) => !ends.has(inode));
    const elsewhere = this.#lists.byProcNet(
      missing.map(({ pid }) => pid),
      new Set(missing.map(({ inode }) => inode)),
    );
    for (const [inode, { local, remote }] of elsewhere ?? []) if (remote === undefined) ends.set(inode, local);
    for (const [key, { inode }] of news) {
      const listener = ends.get(inode) ?? (here === undefined || elsewhere === undefined ? undefined : 'other');
      this.#known.delete(key);
      if (listener !== undefined) this.#known.set(key, { inode, listener });
    }
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= MAX_ENTRIES) break;
      this.#known.delete(oldest);
    }
  }
}
