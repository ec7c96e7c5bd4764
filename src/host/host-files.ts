import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  opendirSync,
  openSync,
  readlinkSync,
  readSync,
  realpathSync,
  type Stats,
  statSync,
} from 'node:fs';
import { posix } from 'node:path';
import { matchesGlob } from '../base/glob.ts';
import { inRoot } from '../base/in-root.ts';

/** Not there, nor a folder on the way to it. */
export interface Missing {
  readonly missing: true;
}

/** There, or nobody can say. */
export interface Unreadable {
  readonly unreadable: string;
  /** For lack of permission, and not because of what it is. */
  readonly denied: boolean;
}

/** What came of looking at something. */
export type Look<T> = { readonly found: T } | Missing | Unreadable;

export const MISSING: Missing = { missing: true };
const unreadable = (reason: string): Unreadable => ({ unreadable: reason, denied: false });

/** The most that is read of a file, unless the caller knows better. */
const MOST_BYTES = 256 * 1024;
/** Larger files aren't kept in memory: few are asked for twice. */
const KEPT_BYTES = 128 * 1024;
const MOST_KEPT = 200;
/** The most names that are read of one folder. */
const MOST_NAMES = 4_096;
/** The most paths that a pattern may stand for. */
const MOST_PATHS = 1_024;

/**
 * The files of the system that is judged, by the paths that they have there: absolute, of `root`. Links are followed
 * within the root. Only regular files are opened, since opening a FIFO waits and opening a device does something.
 *
 * What it read is kept for one scan; a file that changes meanwhile is judged as it was.
 */
export class HostFiles {
  readonly root: string;
  /** Mount points that another machine answers for, or a program: looking there may take for ever. */
  remote: readonly string[] = [];
  /** Folders that count as empty: what something else is mounted on when the system runs. */
  hidden: readonly string[] = [];
  readonly #names = new Map<string, Look<readonly string[]>>();
  readonly #texts = new Map<string, Look<string>>();

  constructor(root: string) {
    this.root = root;
  }

  /** Where this process finds it, with all links followed but one at its end. */
  #placeOfLink(path: string): string {
    if (this.root === '/') return path;
    return posix.join(inRoot(this.root, posix.dirname(path)), posix.basename(path));
  }

  /** Where this process finds it, with all links followed. @throws what the file system says on the way */
  place(path: string): string {
    return this.root === '/' ? path : inRoot(this.root, path);
  }

  /** The same, also where the root is this process's own. */
  real(path: string): string {
    return this.root === '/' ? realpathSync(path) : inRoot(this.root, path);
  }

  /** Of a link itself. */
  lstat(path: string): Look<Stats> {
    return this.#look(path, () => lstatSync(this.#placeOfLink(path), { throwIfNoEntry: false }));
  }

  /** What a link says, whether that is there or not; `undefined` of anything else. */
  target(path: string): string | undefined {
    try {
      return readlinkSync(this.#placeOfLink(path));
    } catch {
      return undefined;
    }
  }

  /** The same, and why it can't be said. */
  link(path: string): Look<string> {
    return this.#look(path, () => readlinkSync(this.#placeOfLink(path)));
  }

  /** Of what a link leads to. */
  stat(path: string): Look<Stats> {
    if (this.root === '/') return this.#look(path, () => statSync(path, { throwIfNoEntry: false }));
    // The last part is no link any more; lstat, lest one that has just been made leads out of the root.
    return this.#look(path, () => lstatSync(inRoot(this.root, path), { throwIfNoEntry: false }));
  }

  exists(path: string): boolean {
    return 'found' in this.stat(path);
  }

  /** Whether something may be there: also when nobody can say. Whoever looks on will find out why not. */
  mayBeThere(path: string): boolean {
    return !('missing' in this.stat(path));
  }

  isFolder(path: string): boolean {
    const look = this.stat(path);
    return 'found' in look && look.found.isDirectory();
  }

  /** A whole regular file as text; bytes that are no UTF-8 become U+FFFD. */
  text(path: string, mostBytes = MOST_BYTES): Look<string> {
    const kept = this.#texts.get(path);
    if (kept !== undefined) return kept;
    const bytes = this.bytes(path, mostBytes);
    const look = 'found' in bytes ? { found: bytes.found.toString('utf8') } : bytes;
    if ('found' in look && look.found.length > KEPT_BYTES) return look;
    if (this.#texts.size < MOST_KEPT) this.#texts.set(path, look);
    return look;
  }

  /** The same, as it is; not kept. */
  bytes(path: string, mostBytes: number): Look<Buffer> {
    return this.#look(path, () => this.#read(path, mostBytes));
  }

  /** As much of the beginning; `cut`: there is more. */
  beginning(path: string, mostBytes: number): Look<{ readonly bytes: Buffer; readonly cut: boolean }> {
    return this.#look(path, () => {
      const bytes = this.#read(path, mostBytes, true);
      if (bytes === undefined || isUnreadable(bytes)) return bytes;
      return { bytes: bytes.subarray(0, mostBytes), cut: bytes.length > mostBytes };
    });
  }

  /** @param mayBeLonger gives a little more than the limit then, and ends there */
  #read(path: string, mostBytes: number, mayBeLonger = false): Buffer | Unreadable | undefined {
    const place = this.place(path);
    const before = statSync(place, { throwIfNoEntry: false });
    if (before === undefined) return undefined;
    if (!before.isFile()) return unreadable(`${path} is no regular file`);
    // Below another root all links have been followed: one that has just been made may lead out of it.
    const noFollow = this.root === '/' ? 0 : constants.O_NOFOLLOW;
    const file = openSync(place, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY | noFollow);
    try {
      if (!fstatSync(file).isFile()) return unreadable(`${path} is no regular file`);
      const parts: Buffer[] = [];
      for (let total = 0; ; ) {
        const part = Buffer.allocUnsafe(Math.min(Math.max(before.size - total, 0) + 4_096, 256 * 1024));
        const length = readSync(file, part, 0, part.length, null);
        if (length === 0) return Buffer.concat(parts);
        total += length;
        if (total > mostBytes && !mayBeLonger) return unreadable(`${path} is longer than ${mostBytes} bytes`);
        parts.push(part.subarray(0, length));
        if (total > mostBytes) return Buffer.concat(parts);
      }
    } finally {
      closeSync(file);
    }
  }

  /** What is in a folder, in alphabetical order. */
  names(path: string): Look<readonly string[]> {
    let kept = this.#names.get(path);
    if (kept === undefined) {
      kept = this.entries(path, MOST_NAMES);
      if (this.#names.size < MOST_KEPT) this.#names.set(path, kept);
    }
    return kept;
  }

  /** The same of a folder that may be large. */
  entries(path: string, most: number): Look<readonly string[]> {
    return this.#look(path, () => {
      const folder = opendirSync(this.place(path));
      try {
        const names: string[] = [];
        for (let entry = folder.readSync(); entry !== null; entry = folder.readSync()) {
          if (names.push(entry.name) > most) return unreadable(`${path} holds more than ${most} names`);
        }
        return names.sort();
      } finally {
        folder.closeSync();
      }
    });
  }

  /** The first names of a folder that may hold more than can be looked at, in no order; `cut`: there are more. */
  someEntries(path: string, most: number): Look<{ readonly names: readonly string[]; readonly cut: boolean }> {
    return this.#look(path, () => {
      const folder = opendirSync(this.place(path));
      try {
        const names: string[] = [];
        for (let entry = folder.readSync(); entry !== null; entry = folder.readSync()) {
          if (names.length >= most) return { names, cut: true };
          names.push(entry.name);
        }
        return { names, cut: false };
      } finally {
        folder.closeSync();
      }
    });
  }

  /**
   * The paths that a pattern stands for: `*` is any text and `?` any character within one part. A path without them
   * stands for itself, whether it is there or not.
   *
   * @returns the paths, and the first folder that could not be looked into
   */
  expand(pattern: string): { paths: readonly string[]; unreadable?: Unreadable } {
    let paths = ['/'];
    let problem: Unreadable | undefined;
    for (const part of pattern.split('/').filter((text) => text !== '')) {
      if (!/[*?]/.test(part)) {
        paths = paths.map((path) => posix.join(path, part));
        continue;
      }
      const next: string[] = [];
      for (const path of paths) {
        const look = this.names(path);
        if ('unreadable' in look) problem ??= look;
        if (!('found' in look)) continue;
        for (const name of look.found)
          if (matchesGlob(part, name) && (part.startsWith('.') || !name.startsWith('.')))
            next.push(posix.join(path, name));
      }
      if (next.length > MOST_PATHS) problem ??= unreadable(`${pattern} stands for more than ${MOST_PATHS} files`);
      paths = next.slice(0, MOST_PATHS);
    }
    return problem === undefined ? { paths } : { paths, unreadable: problem };
  }

  #look<T>(path: string, look: () => T | Unreadable | undefined): Look<T> {
    if (isBelow(path, this.hidden)) return MISSING;
    if (isBelow(path, this.remote)) return unreadable(`${path} is on a network file system`);
    try {
      const found = look();
      if (found === undefined) return MISSING;
      return isUnreadable(found) ? found : { found };
    } catch (error) {
      return whyNot(error, path);
    }
  }
}

const isBelow = (path: string, folders: readonly string[]) =>
  folders.some((folder) => path === folder || path.startsWith(`${folder}/`));

const isUnreadable = <T>(value: T | Unreadable): value is Unreadable =>
  typeof value === 'object' && value !== null && 'unreadable' in value;

/** What an error of the file system means to whoever looked. */
export function whyNot(error: unknown, path: string): Missing | Unreadable {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
  // ESRCH: of a process that has ended, in /proc.
  if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ESRCH') return MISSING;
  if (code === 'EACCES' || code === 'EPERM') return { unreadable: `no permission to read ${path}`, denied: true };
  return unreadable(`${path} can't be read: ${code}`);
}
