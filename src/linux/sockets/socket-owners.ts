import { type Dir, lstatSync, opendirSync, readdirSync, readlinkSync } from 'node:fs';
import { type Clock, systemClock } from '../../base/clock.ts';
import { Turn } from '../../base/turn.ts';

/** The process that holds a socket. */
export interface SocketOwner {
  readonly pid: number;
  /** Where its image lies, as the kernel says it: with ` (deleted)` behind when it was replaced. Absent when hidden. */
  readonly executable?: string;
}

/** Whose sockets are whose, as far as it could be found out. */
export interface FoundOwners {
  /** By the number of the socket. */
  readonly owners: ReadonlyMap<number, SocketOwner>;
  /** Sockets that nobody was found for since the walk ended at its limit. */
  readonly notSought: number;
}

/**
 * Descriptors below 100, which of each process are looked at before any others: a server opens first what it listens at,
 * and then takes connections.
 */
const isLow = (fd: string) => fd.length <= 2;
/** Of a folder with more, only the beginning is read at first: a name costs 0.7 µs. */
const MANY = 1_000;
/** A socket that so many walks didn't find, has nobody who can be seen: the kernel's own, or of a hidden process. */
const MOST_WALKS = 2;
/** Descriptors that one walk looks at, at 4 µs each. Any user can have millions of them, in thousands of processes. */
const MOST_LOOKS = 1_000_000;
/** With more processes than that, those of one user don't come all before those of the next. */
const MANY_PROCESSES = 4_096;

interface Descriptor {
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
 * and ends as soon as all are found, or at its limit. Processes with many descriptors come last, and no user's processes
 * come all before another's: who opens descriptors by the thousands must not hide whose socket another one is.
 */
export class SocketOwners {
  readonly #proc: string;
  readonly #clock: Clock;
  readonly #mostLooks: number;
  /** By the number of the socket. */
  #places = new Map<number, Descriptor>();
  /** How many walks in vain there have been. */
  #sought = new Map<number, number>();

  constructor(proc = '/proc', clock: Clock = systemClock, mostLooks = MOST_LOOKS) {
    this.#proc = proc;
    this.#clock = clock;
    this.#mostLooks = mostLooks;
  }

  /**
   * @param inodes of all sockets that are of interest: what is remembered of others is forgotten
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
    const walksFor = (inode: number) => this.#sought.get(inode) ?? 0;
    const missing = [...asked].filter((inode) => !places.has(inode) && walksFor(inode) < MOST_WALKS);
    // What init keeps for a service, the service may have by now: among the first it has, see sd_listen_fds(3).
    const kept = [...places].filter(([, { pid }]) => pid === 1).map(([inode]) => inode);
    const walk = new Walk(this.#proc, missing, kept, this.#mostLooks, pace);
    for (const [inode, place] of await walk.run()) places.set(inode, place);
    const sought = new Map<number, number>();
    let notSought = 0;
    for (const inode of asked) {
      if (places.has(inode)) continue;
      if (walk.isCut && walksFor(inode) < MOST_WALKS) notSought += 1;
      else sought.set(inode, Math.min(walksFor(inode) + 1, MOST_WALKS));
    }
    this.#places = places;
    this.#sought = sought;
    return { owners: await this.#ownersAt(places, pace), notSought };
  }

  /** Where sockets were found before, and still are. */
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

/** A process with descriptors that have not been looked at. */
interface Large {
  readonly pid: number;
  readonly count: number;
  /** Those that have been. */
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

  /** @param low these are looked for among low descriptors only */
  constructor(
    proc: string,
    wanted: readonly number[],
    low: readonly number[],
    mostLooks: number,
    pace: () => Promise<void>,
  ) {
    this.#proc = proc;
    this.#wanted = new Set([...wanted, ...low]);
    this.#low = low;
    this.#looksLeft = mostLooks;
    this.#pace = pace;
  }

  /** Whether it ended at its limit. */
  get isCut(): boolean {
    return this.#looksLeft <= 0 && this.#wanted.size > 0;
  }

  get #isOver(): boolean {
    return this.#wanted.size === 0 || this.#looksLeft <= 0;
  }

  /** Finds the places of sockets, as many as it can. */
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
   * All process ids, ascending, init last. Where there are very many: first one process of each user, then a second one,
   * and so on, lest one user's processes use up the walk before it comes to those of another.
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

/** How many descriptors there are in a /proc/PID/fd, since Linux 6.2; before that 0. */
const sizeOf = (folder: string): number => lstatSync(folder, { throwIfNoEntry: false })?.size ?? 0;

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** /proc gives descriptors in ascending order: the low ones, and the first that isn't. */
function lowNamesIn(folder: string): string[] {
  const names: string[] = [];
  for (const name of entriesOf(folder)) {
    names.push(name);
    if (!isLow(name)) break;
  }
  return names;
}

/** The names in a folder, some at a time; none when the process has ended, or is hidden. */
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
    // the process has ended meanwhile
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
