import { closeSync, constants, fstatSync, lstatSync, openSync, readSync } from 'node:fs';
import { readOptional } from '../../core/base/bounded-file.ts';
import type { Clock } from '../../core/base/clock.ts';
import { type Duration, milliseconds } from '../../core/base/duration.ts';
import { FIRST_ROOT, hasOwnMounts, hostProc } from './in-root.ts';
import { isLocal, type Mount, mountWithId } from './mounts.ts';

/** From asm-generic/fcntl.h, for all platforms of Node: a descriptor that refers to a file without opening it. */
export const O_PATH = 0o10000000;
const OTHERS_WRITE = 0o022;

/** Size of a list of mounts: of the first process and of this one, on a host with many containers; of any other process. */
const MAX_BYTES = 1024 * 1024;
const MAX_BYTES_OF_OTHERS = 128 * 1024;
/** Descriptors kept until the end of a turn. When there are more, all are closed and mounts are looked up again. */
const MAX_KEPT = 64;
/** Path components; each takes about 15 µs. */
const MAX_FOLDERS = 64;

/**
 * A descriptor made with O_PATH, or why there is none: the file is missing, it is not on a local file system, the time
 * budget is used up, or the kernel does not have the path in its cache, as for a file that was deleted while it was in use.
 */
export type LocalFile = number | 'absent' | 'mount' | 'budget' | 'uncached';

/**
 * Opens a name in a folder with O_PATH and O_NOFOLLOW if the kernel has the name in its cache, and never waits; see
 * RESOLVE_CACHED in openat2(2).
 */
export type OpenCached = (folder: number, name: string) => number | 'absent' | 'uncached';

/** The time left for lookups; negative when it is overdrawn. */
interface Time {
  left(): Duration;
  pay(since: Duration): Duration;
}

const UNLIMITED: Time = { left: () => milliseconds(0), pay: (since) => since };

/**
 * Refers to files of processes and of the host without ever waiting for a file system that a program or another machine
 * serves: a server that never answers would hang the agent, and any user can mount one in their own namespaces.
 *
 * Opening with O_PATH asks a file system only for the names on the path. So each folder of a path is opened from the one
 * before, which is known to be local by then, without following links. The target of /proc/PID/exe is opened without any
 * name lookup. A descriptor's fdinfo has the id of its mount; the lists of mounts describe that mount. They must be read
 * after the descriptor was made: until it is closed, the id is not reused. A mount that is in no list is not local.
 *
 * It does not wait for a directory either. A user can keep any readable directory locked indefinitely: by
 * getdents(2) into memory that their own file system serves, while mkdir(2) waits for that. A process that then looks up
 * an uncached name sleeps, and not even SIGKILL ends it. So only cached names are looked up. The names of a program that runs
 * are cached, and those of one that ran just now almost always.
 *
 * Results and descriptors are kept until the end of a turn of the event loop only, since descriptors would keep a file
 * system from being unmounted.
 */
export class LocalFiles {
  readonly #proc: string;
  readonly #root: string;
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #openCached: OpenCached | undefined;
  /** By mount id, while a kept descriptor is on the mount. */
  readonly #mounts = new Map<number, boolean>();
  /** Keyed by path. */
  readonly #folders = new Map<string, number>();
  #kept: number[] = [];
  #willRelease = false;
  readonly #buffer = Buffer.allocUnsafeSlow(256);

  /**
   * @param proc the host's /proc
   * @param root the host's root directory in this process's view. Its file system counts as local: without it nothing works
   * @param openCached `undefined` where the kernel can't. Then names are looked up only in folders that are root's on the
   * whole path: there a lock stops the host's own programs as well
   */
  constructor({
    proc,
    root,
    clock,
    openCached,
  }: {
    proc: string;
    root: string;
    clock: Pick<Clock, 'monotonic'>;
    openCached: OpenCached | undefined;
  }) {
    this.#proc = proc;
    this.#openCached = openCached;
    this.#clock = clock;
    this.#root = root === '' ? '/' : root;
  }

  /**
   * The program that a process runs. The descriptor is valid until the next call, and at most until the end of the turn.
   *
   * @param time the budget for reading lists of mounts, which a user can make long
   */
  image(pid: number, time: Time = UNLIMITED): LocalFile {
    const link = `${this.#proc}/${pid}/exe`;
    // Many processes have exited by now, and throwing an error costs five times as much as this check.
    if (!exists(link)) return 'absent';
    this.#rootFolder(); // usually on the same mount
    const file = this.#open(link, O_PATH);
    if (file === undefined) return 'absent';
    return this.#judged(file, time, pid);
  }

  /**
   * The file at a path of the host, as the kernel writes it: absolute, without links and dots. The descriptor is valid as
   * long as that of an image. A link at the end is not followed.
   */
  at(path: string, time: Time = UNLIMITED): LocalFile {
    if (time.left() < 0) return 'budget';
    const since = this.#clock.monotonic();
    const file = this.#walk(path, time);
    time.pay(since);
    return file;
  }

  #walk(path: string, time: Time): LocalFile {
    let folder = this.#rootFolder();
    if (folder === undefined || !path.startsWith('/')) return 'absent';
    let from = 1;
    for (let count = 0; count < MAX_FOLDERS; count += 1) {
      const to = path.indexOf('/', from);
      const name = path.slice(from, to === -1 ? path.length : to);
      if (name === '' || name === '.' || name === '..' || name.includes('\0')) return 'absent';
      const prefix = to === -1 ? undefined : path.slice(0, to);
      let next = prefix === undefined ? undefined : this.#folders.get(prefix);
      if (next === undefined) {
        const opened = this.#openIn(folder, name);
        if (typeof opened === 'string') return opened;
        next = opened;
        const verdict = this.#judged(next, time);
        if (typeof verdict === 'string') return verdict;
        if (prefix !== undefined) this.#folders.set(prefix, next);
      }
      if (to === -1) return next;
      folder = next;
      from = to + 1;
    }
    return 'absent';
  }

  #rootFolder(): number | undefined {
    if (this.#kept.length >= MAX_KEPT) this.#release();
    const known = this.#folders.get('');
    if (known !== undefined) return known;
    const root = this.#open(this.#root, O_PATH | constants.O_DIRECTORY);
    if (root === undefined) return undefined;
    this.#folders.set('', root);
    const id = this.#mountOf(root);
    if (id !== undefined) this.#mounts.set(id, true);
    return root;
  }

  #openIn(folder: number, name: string): LocalFile {
    const path = `/proc/self/fd/${folder}`;
    if (this.#openCached === undefined) {
      if (!isRoots(folder)) return 'uncached';
      return this.#open(`${path}/${name}`, O_PATH | constants.O_NOFOLLOW) ?? 'absent';
    }
    let file = this.#openCached(folder, name);
    if (file === 'uncached') {
      // This reads the directory without a lock. It also helps if the directory's access control list isn't cached,
      // or if files are being renamed.
      tryAccess(`${path}/.`);
      file = this.#openCached(folder, name);
    }
    return typeof file === 'number' ? this.#keep(file) : file;
  }

  #open(path: string, flags: number): number | undefined {
    try {
      return this.#keep(openSync(path, flags));
    } catch {
      return undefined; // gone, hidden, or the name is too long
    }
  }

  /** Keeps a descriptor until the turn ends. */
  #keep(file: number): number {
    this.#kept.push(file);
    if (!this.#willRelease) {
      this.#willRelease = true;
      queueMicrotask(() => {
        this.#willRelease = false;
        this.#release();
      });
    }
    return file;
  }

  #release(): void {
    for (const file of this.#kept) closeSync(file);
    this.#kept = [];
    this.#folders.clear();
    this.#mounts.clear();
  }

  /**
   * @param pid the process whose mounts are searched, besides the host's and the agent's own
   * @returns the file itself when it is local
   */
  #judged(file: number, time: Time, pid?: number): LocalFile {
    const id = this.#mountOf(file);
    if (id === undefined) return 'mount';
    let isLocal = this.#mounts.get(id);
    if (isLocal === undefined) {
      if (time.left() < 0) return 'budget';
      const since = this.#clock.monotonic();
      isLocal = this.#judge(id, pid);
      this.#mounts.set(id, isLocal);
      time.pay(since);
    }
    return isLocal ? file : 'mount';
  }

  #judge(id: number, pid: number | undefined): boolean {
    const first = readOptional(`${this.#proc}/1/mountinfo`, MAX_BYTES);
    const hosts = first === undefined ? undefined : mountWithId(first, id);
    if (hosts !== undefined) return hosts.point === '/' || isLocal(hosts, first);
    const mount =
      mountIn('/proc/self/mountinfo', id, MAX_BYTES) ??
      mountIn(`${this.#proc}/${pid}/mountinfo`, id, MAX_BYTES_OF_OTHERS);
    return mount !== undefined && isLocal(mount, first);
  }

  /** `mnt_id:` of /proc/self/fdinfo/FD, see proc_pid_fdinfo(5). Accesses no other file system. */
  #mountOf(file: number): number | undefined {
    try {
      const info = openSync(`/proc/self/fdinfo/${file}`, 'r');
      try {
        const text = this.#buffer.toString('latin1', 0, readSync(info, this.#buffer, 0, this.#buffer.length, null));
        const [, id] = /^mnt_id:\t(\d+)$/m.exec(text) ?? [];
        return id === undefined ? undefined : Number(id);
      } finally {
        closeSync(info);
      }
    } catch {
      return undefined;
    }
  }
}

/** The first process's view of the host: a service's own /tmp and /home are not where programs are started from. */
export function hostFiles({
  hostRoot,
  clock,
  openCached,
}: {
  hostRoot: string;
  clock: Pick<Clock, 'monotonic'>;
  openCached: OpenCached | undefined;
}): LocalFiles {
  const isFirst = hostRoot === '/' && hasOwnMounts();
  return new LocalFiles({ proc: hostProc(hostRoot), root: isFirst ? FIRST_ROOT : hostRoot, clock, openCached });
}

/** Whether root owns a directory and no other user can write to it. */
function isRoots(folder: number): boolean {
  const { uid, mode } = fstatSync(folder);
  return uid === 0 && (mode & OTHERS_WRITE) === 0;
}

function tryAccess(path: string): void {
  try {
    closeSync(openSync(path, O_PATH));
  } catch {
    // it may not be searched, or isn't a folder
  }
}

/** The target of a link in /proc, without accessing it. */
function exists(link: string): boolean {
  try {
    return lstatSync(link, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return false; // hidden
  }
}

/** A longer list is ignored: its mounts count as not local. */
function mountIn(path: string, id: number, maxBytes: number): Mount | undefined {
  const mountinfo = readOptional(path, maxBytes);
  return mountinfo === undefined ? undefined : mountWithId(mountinfo, id);
}
