import { type Dir, lstatSync, opendirSync, readdirSync, readlinkSync } from 'node:fs';
import { type Clock, systemClock } from '../../../core/base/clock.ts';
import { Turn } from '../../../core/base/waiting.ts';

/** The process that holds a socket. */
export interface SocketOwner {
  readonly pid: number;
  /** Path of its program as the kernel shows it, with ` (deleted)` appended when the file was replaced. Absent when hidden. */
  readonly executable?: string;
}

/** The owners of sockets, as far as they were found. */
export interface FoundOwners {
  /** Keyed by inode of the socket. */
  readonly owners: ReadonlyMap<number, SocketOwner>;
  /** Sockets without an owner because the walk ended at its limit. */
  readonly notSearched: number;
}

/**
 * Descriptors below 100 of every process are read before any others: a server opens its listening sockets first and
 * accepts connections afterwards.
 */
const isLow = (fd: string) => fd.length <= 2;
/** Only the beginning of a larger directory is read at first: a name takes 0.7 µs. */
const MANY = 1_000;
/** After this many walks, a socket is taken to have no visible owner: it is the kernel's or a hidden process's. */
const MAX_WALKS = 2;
/** Descriptors read in one walk, at 4 µs each. Any user can have millions of them, in thousands of processes. */
const MAX_LOOKS = 1_000_000;
/** With more processes, users take turns. */
const MANY_PROCESSES = 4_096;

interface Descriptor {
  readonly pid: number;
  readonly fd: string;
}

/**
 * Finds the owners of sockets by the links in /proc/PID/fd. See proc_pid_fd(5).
 *
 * When several processes hold a socket, the lowest process id wins, which is the parent that made it; init only when no
 * other process holds it, since systemd keeps the sockets that it passes on. Processes that exit during the search or are not
 * readable (that takes CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH) are skipped.
 *
 * The kernel takes 4 µs for each link, and one process can have 10,000 connections. So results are cached and need one
 * link the next time; and a walk reads the low descriptors of every process first, and ends when all owners are found, or
 * at its limit. Processes with many descriptors come last, and users take turns: a user who opens thousands of descriptors
 * cannot hide the owners of other sockets.
 */
export class SocketOwners {
  readonly #proc: string;
  readonly #clock: Clock;
  readonly #maxLooks: number;
  /** Keyed by inode of the socket. */
  #places = new Map<number, Descriptor>();
  /** Number of walks that did not find the socket, by inode. */
  #searched = new Map<number, number>();

  constructor(proc = '/proc', clock: Clock = systemClock, maxLooks = MAX_LOOKS) {
    this.#proc = proc;
    this.#clock = clock;
    this.#maxLooks = maxLooks;
  }

  /**
   * @param inodes of all sockets of interest: cached results for others are removed
   * @throws the signal's reason when it aborts
   */
  async of(inodes: Iterable<number>, signal: AbortSignal): Promise<FoundOwners> {
    const turn = new Turn(this.#clock);
    const pace = async () => {
      if (!turn.isOver()) return;
      await turn.next();
      signal.throwIfAborted();
    };
    const asked = new Set(inodes);
    asked.delete(0);
    const places = await this.#remembered(asked, pace);
    const walksFor = (inode: number) => this.#searched.get(inode) ?? 0;
    const missing = [...asked].filter((inode) => !places.has(inode) && walksFor(inode) < MAX_WALKS);
    // A socket that init holds may belong to a service by now, at one of its first descriptors: see sd_listen_fds(3).
    const kept = [...places].filter(([, { pid }]) => pid === 1).map(([inode]) => inode);
    const walk = new Walk(this.#proc, missing, kept, this.#maxLooks, pace);
    for (const [inode, place] of await walk.run()) places.set(inode, place);
    const searched = new Map<number, number>();
    let notSearched = 0;
    for (const inode of asked) {
      if (places.has(inode)) continue;
      if (walk.isCut && walksFor(inode) < MAX_WALKS) notSearched += 1;
      else searched.set(inode, Math.min(walksFor(inode) + 1, MAX_WALKS));
    }
    this.#places = places;
    this.#searched = searched;
    return { owners: await this.#ownersAt(places, pace), notSearched };
  }

  /** Checks the cached results. */
  async #remembered(asked: ReadonlySet<number>, pace: () => Promise<void>): Promise<Map<number, Descriptor>> {
    const places = new Map<number, Descriptor>();
    for (const inode of asked) {
      const place = this.#places.get(inode);
      if (place === undefined) continue;
      if (inodeAt(this.#proc, place) === inode) places.set(inode, place);
      await pace();
    }
    return places;
  }

  async #ownersAt(
    places: ReadonlyMap<number, Descriptor>,
    pace: () => Promise<void>,
  ): Promise<ReadonlyMap<number, SocketOwner>> {
    const byProcess = new Map<number, SocketOwner>();
    const owners = new Map<number, SocketOwner>();
    for (const [inode, { pid }] of places) {
      const owner = byProcess.get(pid) ?? this.#ownerOf(pid);
      byProcess.set(pid, owner);
      owners.set(inode, owner);
      await pace();
    }
    return owners;
  }

  #ownerOf(pid: number): SocketOwner {
    const executable = target(`${this.#proc}/${pid}/exe`);
    return executable === undefined ? { pid } : { pid, executable };
  }
}

/** A process with descriptors still to be read. */
interface Large {
  readonly pid: number;
  readonly count: number;
  /** The descriptors already read. */
  readonly seen: ReadonlySet<string>;
}

/** One walk over the descriptors of all processes. */
class Walk {
  readonly #proc: string;
  readonly #wanted: Set<number>;
  readonly #low: readonly number[];
  readonly #pace: () => Promise<void>;
  readonly #found = new Map<number, Descriptor>();
  #looksLeft: number;

  /** @param low look for these among low descriptors only */
  constructor(
    proc: string,
    wanted: readonly number[],
    low: readonly number[],
    maxLooks: number,
    pace: () => Promise<void>,
  ) {
    this.#proc = proc;
    this.#wanted = new Set([...wanted, ...low]);
    this.#low = low;
    this.#looksLeft = maxLooks;
    this.#pace = pace;
  }

  /** Whether it ended at its limit. */
  get isCut(): boolean {
    return this.#looksLeft <= 0 && this.#wanted.size > 0;
  }

  get #isOver(): boolean {
    return this.#wanted.size === 0 || this.#looksLeft <= 0;
  }

  /** Finds as many of the sockets as it can. */
  async run(): Promise<ReadonlyMap<number, Descriptor>> {
    if (this.#wanted.size === 0) return this.#found;
    const large: Large[] = [];
    for (const pid of await this.#processes()) {
      const folder = `${this.#proc}/${pid}/fd`;
      const count = sizeOf(folder);
      const fds = count > 0 && count <= MANY ? namesIn(folder) : lowNamesIn(folder);
      const first = fds.filter(isLow);
      if (count > MANY || first.length < fds.length)
        large.push({ pid, count: Math.max(count, fds.length), seen: new Set(first) });
      for (const fd of first) if (!this.#isOver) await this.#look(pid, fd);
      await this.#pace();
      if (this.#isOver) return this.#found;
    }
    for (const inode of this.#low) this.#wanted.delete(inode);
    large.sort((a, b) => Number(a.pid === 1) - Number(b.pid === 1) || a.count - b.count);
    for (const { pid, seen } of large) {
      for (const fd of entriesOf(`${this.#proc}/${pid}/fd`)) {
        if (this.#isOver) return this.#found;
        if (!seen.has(fd)) await this.#look(pid, fd);
      }
    }
    return this.#found;
  }

  async #look(pid: number, fd: string): Promise<void> {
    this.#looksLeft -= 1;
    const place = { pid, fd };
    const inode = inodeAt(this.#proc, place);
    if (inode !== undefined && this.#wanted.delete(inode)) this.#found.set(inode, place);
    await this.#pace();
  }

  /**
   * All process ids, ascending, init last. With many processes: first one process of each user, then a second one, and so
   * on, so that the processes of one user do not use up the walk.
   */
  async #processes(): Promise<number[]> {
    const ids: number[] = [];
    for (const name of entriesOf(this.#proc)) {
      if (/^\d+$/.test(name)) ids.push(Number(name));
      await this.#pace();
    }
    const inOrder = ids.sort((a, b) => Number(a === 1) - Number(b === 1) || a - b);
    if (inOrder.length <= MANY_PROCESSES) return inOrder;
    const counts = new Map<number, number>();
    const ranked: { pid: number; rank: number }[] = [];
    for (const pid of inOrder) {
      const uid = lstatSync(`${this.#proc}/${pid}`, { throwIfNoEntry: false })?.uid ?? 0;
      const rank = counts.get(uid) ?? 0;
      counts.set(uid, rank + 1);
      ranked.push({ pid, rank });
      await this.#pace();
    }
    return ranked.sort((a, b) => a.rank - b.rank).map(({ pid }) => pid);
  }
}

const inodeAt = (proc: string, { pid, fd }: Descriptor): number | undefined =>
  socketInode(target(`${proc}/${pid}/fd/${fd}`));

/** `socket:[1234]` → 1234. */
export function socketInode(link: string | undefined): number | undefined {
  const match = link?.startsWith('socket:[') ? /^socket:\[(\d{1,15})\]$/.exec(link) : null;
  return match === null ? undefined : Number(match[1]);
}

/** Number of entries in /proc/PID/fd, since Linux 6.2; 0 on older kernels. */
const sizeOf = (folder: string): number => lstatSync(folder, { throwIfNoEntry: false })?.size ?? 0;

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** Splits the descriptors, which /proc lists in ascending order: the low ones, and the first one that is not low. */
function lowNamesIn(folder: string): string[] {
  const names: string[] = [];
  for (const name of entriesOf(folder)) {
    names.push(name);
    if (!isLow(name)) break;
  }
  return names;
}

/** The names in a folder, in parts; none when the process has exited or is hidden. */
function* entriesOf(folder: string): Generator<string> {
  let directory: Dir;
  try {
    directory = opendirSync(folder, { bufferSize: 128 });
  } catch {
    return;
  }
  try {
    for (let entry = directory.readSync(); entry !== null; entry = directory.readSync()) yield entry.name;
  } catch {
    // the process has exited
  } finally {
    directory.closeSync();
  }
}

function target(link: string): string | undefined {
  try {
    return readlinkSync(link);
  } catch {
    return undefined;
  }
}
