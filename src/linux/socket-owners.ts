import { lstatSync, opendirSync, readdirSync, readlinkSync } from 'node:fs';

/** The process that holds a socket. */
export interface SocketOwner {
  readonly pid: number;
  /** Where its image lies, as the kernel says it: with ` (deleted)` behind when it was replaced. Absent when hidden. */
  readonly executable?: string;
}

/** File descriptors looked at before others get their turn: about 1 ms. */
const AT_ONCE = 200;
/**
 * Descriptors below 100, which of each process are looked at before any others: a server opens first what it listens at,
 * and then takes connections.
 */
const isLow = (fd: string) => fd.length <= 2;
/** Of a folder with more, only the beginning is read at first: a name costs 0.7 µs. */
const MANY = 1_000;
/** A socket that so many walks didn't find, has nobody who can be seen: the kernel's own, or of a hidden process. */
const MOST_WALKS = 2;

interface Place {
  readonly pid: number;
  readonly fd: string;
}

/**
 * Finds who holds which socket, by the links in /proc/PID/fd. See proc_pid_fd(5).
 *
 * Several processes can hold the same one: the lowest id is taken, which is the parent that made it; but init only when
 * nobody else has it, since systemd keeps what it passes on. Processes that can't be looked into (which takes
 * CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH) or that end meanwhile are passed over.
 *
 * The kernel takes 4 µs for each link, and one process can have 10,000 connections. So what was found is remembered, and
 * needs but one look the next time; and a walk looks at the low descriptors of every process before it looks at the rest,
 * and ends as soon as all are found.
 */
export class SocketOwners {
  readonly #proc: string;
  /** By the number of the socket. */
  #places = new Map<number, Place>();
  /** How many walks in vain there have been. */
  #sought = new Map<number, number>();

  constructor(proc = '/proc') {
    this.#proc = proc;
  }

  /**
   * @param inodes of all sockets that are of interest: what is remembered of others is forgotten
   * @throws the signal's reason when it aborts
   */
  async of(inodes: Iterable<number>, signal: AbortSignal): Promise<Map<number, SocketOwner>> {
    const asked = new Set(inodes);
    asked.delete(0);
    const places = new Map<number, Place>();
    for (const [inode, place] of this.#places) {
      if (asked.has(inode) && this.#inodeAt(place) === inode) places.set(inode, place);
    }
    const missing = [...asked].filter((inode) => !places.has(inode) && (this.#sought.get(inode) ?? 0) < MOST_WALKS);
    // What init keeps for a service, the service may have by now: among the first it has, see sd_listen_fds(3).
    const kept = [...places].filter(([, { pid }]) => pid === 1).map(([inode]) => inode);
    for (const [inode, place] of await this.#walk(missing, kept, signal)) places.set(inode, place);
    this.#places = places;
    this.#sought = new Map(
      [...asked]
        .filter((inode) => !places.has(inode))
        .map((inode) => [inode, Math.min((this.#sought.get(inode) ?? 0) + 1, MOST_WALKS)]),
    );
    return new Map([...places].map(([inode, { pid }]) => [inode, this.#ownerOf(pid)]));
  }

  /**
   * Finds the places of sockets, as many as it can.
   *
   * @param low those to be looked for among low descriptors only
   */
  async #walk(inodes: readonly number[], low: readonly number[], signal: AbortSignal): Promise<Map<number, Place>> {
    const wanted = new Set([...inodes, ...low]);
    const found = new Map<number, Place>();
    let looked = 0;
    const look = async (pid: number, fds: readonly string[]) => {
      for (const fd of fds) {
        looked += 1;
        if (looked % AT_ONCE === 0) {
          await new Promise((resolve) => setImmediate(resolve));
          signal.throwIfAborted();
        }
        const place = { pid, fd };
        const inode = this.#inodeAt(place);
        if (inode !== undefined && wanted.delete(inode)) found.set(inode, place);
        if (wanted.size === 0) return;
      }
    };
    const large: { readonly pid: number; readonly count: number; readonly seen: ReadonlySet<string> }[] = [];
    for (const pid of wanted.size === 0 ? [] : this.#processes()) {
      const folder = `${this.#proc}/${pid}/fd`;
      const count = sizeOf(folder);
      const fds = count > MANY ? lowNamesIn(folder) : namesIn(folder);
      const first = fds.filter(isLow);
      if (count > MANY || first.length < fds.length) {
        large.push({ pid, count: Math.max(count, fds.length), seen: new Set(first) });
      }
      await look(pid, first);
      if (wanted.size === 0) return found;
    }
    for (const inode of low) wanted.delete(inode);
    large.sort((a, b) => Number(a.pid === 1) - Number(b.pid === 1) || a.count - b.count);
    for (const { pid, seen } of large) {
      if (wanted.size === 0) break;
      await look(
        pid,
        namesIn(`${this.#proc}/${pid}/fd`).filter((fd) => !seen.has(fd)),
      );
    }
    return found;
  }

  /** All process ids, ascending, init last. */
  #processes(): number[] {
    const ids = namesIn(this.#proc).filter((name) => /^\d+$/.test(name));
    return ids.map(Number).sort((a, b) => Number(a === 1) - Number(b === 1) || a - b);
  }

  #inodeAt({ pid, fd }: Place): number | undefined {
    return socketInode(target(`${this.#proc}/${pid}/fd/${fd}`));
  }

  #ownerOf(pid: number): SocketOwner {
    const executable = target(`${this.#proc}/${pid}/exe`);
    return executable === undefined ? { pid } : { pid, executable };
  }
}

/** `socket:[1234]` → 1234. */
export function socketInode(link: string | undefined): number | undefined {
  const match = link?.startsWith('socket:[') ? /^socket:\[(\d{1,15})\]$/.exec(link) : null;
  return match === null ? undefined : Number(match[1]);
}

/** How many descriptors there are in a /proc/PID/fd, since Linux 6.2; before that 0. */
const sizeOf = (folder: string): number => lstatSync(folder, { throwIfNoEntry: false })?.size ?? 0;

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** /proc gives descriptors in ascending order, and some thousand at a time; readdirSync wants all of them. */
function lowNamesIn(folder: string): string[] {
  const names: string[] = [];
  try {
    const directory = opendirSync(folder, { bufferSize: 128 });
    try {
      for (let entry = directory.readSync(); entry !== null && isLow(entry.name); entry = directory.readSync()) {
        names.push(entry.name);
      }
    } finally {
      directory.closeSync();
    }
  } catch {
    // the process has ended, or is hidden
  }
  return names;
}

function target(link: string): string | undefined {
  try {
    return readlinkSync(link);
  } catch {
    return undefined;
  }
}
