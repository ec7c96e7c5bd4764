import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  opendirSync,
  openSync,
  readSync,
  type Stats,
  statSync,
} from 'node:fs';
import { posix } from 'node:path';
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
const MOST_BYTES = 1024 * 1024;
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
  readonly #texts = new Map<string, Look<string>>();

  constructor(root: string) {
    this.root = root;
  }

  /** Where this process finds it, if only the last part may be a link. */
  #place(path: string): string {
    if (this.root === '/') return path;
    return posix.join(inRoot(this.root, posix.dirname(path)), posix.basename(path));
  }

  /** Of a link itself. */
  lstat(path: string): Look<Stats> {
    return this.#look(path, () => lstatSync(this.#place(path), { throwIfNoEntry: false }));
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

  isFolder(path: string): boolean {
    const look = this.stat(path);
    return 'found' in look && look.found.isDirectory();
  }

  /** A whole regular file as text; bytes that are no UTF-8 become U+FFFD. */
  text(path: string, mostBytes = MOST_BYTES): Look<string> {
    const kept = this.#texts.get(path);
    if (kept !== undefined) return kept;
    const look = this.#look(path, () => this.#read(path, mostBytes));
    if ('found' in look && look.found.length > KEPT_BYTES) return look;
    if (this.#texts.size < MOST_KEPT) this.#texts.set(path, look);
    return look;
  }

  #read(path: string, mostBytes: number): string | Unreadable | undefined {
    const place = this.root === '/' ? path : inRoot(this.root, path);
    const noFollow = this.root === '/' ? 0 : constants.O_NOFOLLOW;
    const before =
      noFollow === 0 ? statSync(place, { throwIfNoEntry: false }) : lstatSync(place, { throwIfNoEntry: false });
    if (before === undefined) return undefined;
    if (!before.isFile()) return unreadable(`${path} is no regular file`);
    const file = openSync(place, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY | noFollow);
    try {
      if (!fstatSync(file).isFile()) return unreadable(`${path} is no regular file`);
      const parts: Buffer[] = [];
      for (let total = 0; ; ) {
        const part = Buffer.allocUnsafe(Math.min(Math.max(before.size - total, 0) + 4_096, 256 * 1024));
        const length = readSync(file, part, 0, part.length, null);
        if (length === 0) return Buffer.concat(parts).toString('utf8');
        total += length;
        if (total > mostBytes) return unreadable(`${path} is longer than ${mostBytes} bytes`);
        parts.push(part.subarray(0, length));
      }
    } finally {
      closeSync(file);
    }
  }

  /** What is in a folder, in alphabetical order. */
  names(path: string): Look<readonly string[]> {
    return this.#look(path, () => {
      const place = this.root === '/' ? path : inRoot(this.root, path);
      const folder = opendirSync(place);
      try {
        const names: string[] = [];
        for (let entry = folder.readSync(); entry !== null; entry = folder.readSync()) {
          if (names.push(entry.name) > MOST_NAMES) return unreadable(`${path} holds more than ${MOST_NAMES} names`);
        }
        return names.sort();
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
      const wanted = new RegExp(
        `^${part
          .replace(/[.+^${}()|[\]\\]/g, '\\$&')
          .replaceAll('*', '[^]*')
          .replaceAll('?', '.')}$`,
        's',
      );
      const next: string[] = [];
      for (const path of paths) {
        const look = this.names(path);
        if ('unreadable' in look) problem ??= look;
        if (!('found' in look)) continue;
        for (const name of look.found)
          if (wanted.test(name) && (part.startsWith('.') || !name.startsWith('.'))) next.push(posix.join(path, name));
      }
      if (next.length > MOST_PATHS) problem ??= unreadable(`${pattern} stands for more than ${MOST_PATHS} files`);
      paths = next.slice(0, MOST_PATHS);
    }
    return problem === undefined ? { paths } : { paths, unreadable: problem };
  }

  #look<T>(path: string, look: () => T | Unreadable | undefined): Look<T> {
    if (this.remote.some((point) => path === point || path.startsWith(`${point}/`)))
      return unreadable(`${path} is on a network file system`);
    try {
      const found = look();
      if (found === undefined) return MISSING;
      return isUnreadable(found) ? found : { found };
    } catch (error) {
      return whyNot(error, path);
    }
  }
}

const isUnreadable = <T>(value: T | Unreadable): value is Unreadable =>
  typeof value === 'object' && value !== null && 'unreadable' in value;

/** What an error of the file system means to whoever looked. */
export function whyNot(error: unknown, path: string): Missing | Unreadable {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
  if (code === 'ENOENT' || code === 'ENOTDIR') return MISSING;
  if (code === 'EACCES' || code === 'EPERM') return { unreadable: `no permission to read ${path}`, denied: true };
  return unreadable(`${path} can't be read: ${code}`);
}
