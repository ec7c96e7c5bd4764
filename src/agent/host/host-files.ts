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
import { matchesGlob } from '../pattern/glob.ts';
import { compilePattern } from '../pattern/pattern.ts';
import { isLossy } from './entry-names.ts';
import { inRoot } from './in-root.ts';

/** The path, or a folder on it, does not exist. */
export interface Missing {
  readonly missing: true;
}

/** The path exists, or its existence is unknown. */
export interface Unreadable {
  readonly unreadable: string;
  /** Whether the reason is a missing permission. */
  readonly denied: boolean;
}

/** The result of a look at a path. */
export type Look<T> = { readonly found: T } | Missing | Unreadable;

export const MISSING: Missing = { missing: true };
const unreadable = (reason: string): Unreadable => ({ unreadable: reason, denied: false });

/** Bytes read of a file, unless the caller sets another limit. */
const MAX_BYTES = 256 * 1024;
/** Larger files are not cached: few of them are read twice. */
const KEPT_BYTES = 128 * 1024;
const MAX_KEPT = 200;
/** Names read of one folder. */
const MAX_NAMES = 4_096;
/** The number of /dev/null: 1:3, see devices.txt of the kernel. */
const NULL_DEVICE = 0x103;
/** Paths that a pattern may match. */
const MAX_PATHS = 1_024;

/**
 * The files of the system under test, by their absolute paths there, below `root`. Links are followed within the root.
 * Only regular files are opened, since opening a FIFO blocks and opening a device can have side effects. A link to /dev/null
 * is an empty file: systemd's programs mask files by such links.
 *
 * Results are cached for one scan: a file that changes during the scan is evaluated in its first state.
 */
export class HostFiles {
  readonly root: string;
  /** Mount points of file systems that another machine or a program serves: access may never return. */
  remote: readonly string[] = [];
  /** Folders that count as empty: mount points that something else covers when the system runs. */
  hidden: readonly string[] = [];
  /** A tree may have no devices. */
  readonly #null: string;
  readonly #names = new Map<string, Look<readonly string[]>>();
  readonly #texts = new Map<string, Look<string>>();

  constructor(root: string) {
    this.root = root;
    this.#null = posix.join(root, 'dev/null');
  }

  /** The path in this process's view, with all links followed except one at its end. */
  #placeOfLink(path: string): string {
    if (this.root === '/') return path;
    return posix.join(inRoot(this.root, posix.dirname(path)), posix.basename(path));
  }

  /** The path in this process's view, with all links followed unless the root is `/`. @throws the error of the file system */
  place(path: string): string {
    return this.root === '/' ? path : inRoot(this.root, path);
  }

  /** Like `place`, but follows links even if the root is this process's own. */
  real(path: string): string {
    return this.root === '/' ? realpathSync(path) : inRoot(this.root, path);
  }

  /** Does not follow a link. */
  lstat(path: string): Look<Stats> {
    return this.#look(path, () => lstatSync(this.#placeOfLink(path), { throwIfNoEntry: false }));
  }

  /** The target of a link, existing or not; `undefined` for anything but a link. */
  target(path: string): string | undefined {
    try {
      return readlinkSync(this.#placeOfLink(path));
    } catch {
      return undefined;
    }
  }

  /** Like `target`, with the reason when it cannot be read. */
  link(path: string): Look<string> {
    return this.#look(path, () => readlinkSync(this.#placeOfLink(path)));
  }

  /** Follows links. */
  stat(path: string): Look<Stats> {
    if (this.root === '/') return this.#look(path, () => statSync(path, { throwIfNoEntry: false }));
    // All links are resolved. lstat, so that a link created in the meantime does not lead out of the root.
    return this.#look(path, () => lstatSync(inRoot(this.root, path), { throwIfNoEntry: false }));
  }

  exists(path: string): boolean {
    return 'found' in this.stat(path);
  }

  /** Whether the path may exist; true if that is unknown, since reading it will show the reason. */
  mayBeThere(path: string): boolean {
    return !('missing' in this.stat(path));
  }

  isFolder(path: string): boolean {
    const look = this.stat(path);
    return 'found' in look && look.found.isDirectory();
  }

  /** A whole regular file as text; invalid UTF-8 becomes U+FFFD. */
  text(path: string, maxBytes = MAX_BYTES): Look<string> {
    const kept = this.#texts.get(path);
    if (kept !== undefined) return kept;
    const bytes = this.bytes(path, maxBytes);
    const look = 'found' in bytes ? { found: bytes.found.toString('utf8') } : bytes;
    if ('found' in look && look.found.length > KEPT_BYTES) return look;
    if (this.#texts.size < MAX_KEPT) this.#texts.set(path, look);
    return look;
  }

  /** Like `text`, as bytes; not cached. */
  bytes(path: string, maxBytes: number): Look<Buffer> {
    return this.#look(path, () => this.#read(path, maxBytes));
  }

  /** The beginning of a file; `cut`: there is more. */
  beginning(path: string, maxBytes: number): Look<{ readonly bytes: Buffer; readonly cut: boolean }> {
    return this.#look(path, () => {
      const bytes = this.#read(path, maxBytes, true);
      if (bytes === undefined || isUnreadable(bytes)) return bytes;
      return { bytes: bytes.subarray(0, maxBytes), cut: bytes.length > maxBytes };
    });
  }

  /** @param mayBeLonger return the first bytes of a longer file, slightly more than the limit, instead of an error */
  #read(path: string, maxBytes: number, mayBeLonger = false): Buffer | Unreadable | undefined {
    const place = this.place(path);
    const before = statSync(place, { throwIfNoEntry: false });
    if ((before?.isCharacterDevice() && before.rdev === NULL_DEVICE) || place === this.#null) return Buffer.alloc(0);
    if (before === undefined) return undefined;
    if (!before.isFile()) return unreadable(`${path} is not a regular file`);
    // Below another root all links are resolved. A link created in the meantime may lead out of it.
    const noFollow = this.root === '/' ? 0 : constants.O_NOFOLLOW;
    const file = openSync(place, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY | noFollow);
    try {
      if (!fstatSync(file).isFile()) return unreadable(`${path} is not a regular file`);
      const parts: Buffer[] = [];
      for (let total = 0; ; ) {
        const part = Buffer.allocUnsafe(Math.min(Math.max(before.size - total, 0) + 4_096, 256 * 1024));
        const length = readSync(file, part, 0, part.length, null);
        if (length === 0) return Buffer.concat(parts);
        total += length;
        if (total > maxBytes && !mayBeLonger) return unreadable(`${path} is longer than ${maxBytes} bytes`);
        parts.push(part.subarray(0, length));
        if (total > maxBytes) return Buffer.concat(parts);
      }
    } finally {
      closeSync(file);
    }
  }

  /** The names in a folder, in alphabetical order. */
  names(path: string): Look<readonly string[]> {
    let kept = this.#names.get(path);
    if (kept === undefined) {
      kept = this.entries(path, MAX_NAMES);
      if (this.#names.size < MAX_KEPT) this.#names.set(path, kept);
    }
    return kept;
  }

  /** Like `names`, for folders that may be large. */
  entries(path: string, max: number): Look<readonly string[]> {
    return this.#look(path, () => {
      const folder = opendirSync(this.place(path));
      try {
        const names: string[] = [];
        for (let entry = folder.readSync(); entry !== null; entry = folder.readSync()) {
          if (names.push(entry.name) > max) return unreadable(`${path} holds more than ${max} names`);
        }
        return names.sort();
      } finally {
        folder.closeSync();
      }
    });
  }

  /** The first names of a folder that may be too large to list, in no order; `cut`: there are more. */
  someEntries(path: string, max: number): Look<{ readonly names: readonly string[]; readonly cut: boolean }> {
    return this.#look(path, () => {
      const folder = opendirSync(this.place(path));
      try {
        const names: string[] = [];
        for (let entry = folder.readSync(); entry !== null; entry = folder.readSync()) {
          if (names.length >= max) return { names, cut: true };
          names.push(entry.name);
        }
        return { names, cut: false };
      } finally {
        folder.closeSync();
      }
    });
  }

  /**
   * The paths that match a pattern of glob(7): within one path component `*` is any text, `?` any character, `[a-z]` one of
   * a set and `[!a-z]` one that is not in it. A path without them is returned whether it exists or not.
   *
   * @returns the paths, and the first folder that could not be read, or the set that is not understood: one that has no
   *   end, or a class by name, such as `[[:digit:]]`
   */
  expand(pattern: string): { paths: readonly string[]; unreadable?: Unreadable } {
    let paths = ['/'];
    let problem: Unreadable | undefined;
    for (const part of pattern.split('/').filter((text) => text !== '')) {
      if (!isGlob(part)) {
        paths = paths.map((path) => posix.join(path, part));
        continue;
      }
      const matches = matcherOf(part);
      if (matches === undefined)
        return { paths: [], unreadable: unreadable(`${pattern} has a set that is not understood`) };
      const next: string[] = [];
      for (const path of paths) {
        const look = this.names(path);
        if ('unreadable' in look) problem ??= look;
        if (!('found' in look)) continue;
        for (const name of look.found)
          if (matches(name) && (part.startsWith('.') || !name.startsWith('.'))) next.push(posix.join(path, name));
      }
      if (next.length > MAX_PATHS) problem ??= unreadable(`${pattern} matches more than ${MAX_PATHS} files`);
      paths = next.slice(0, MAX_PATHS);
    }
    return problem === undefined ? { paths } : { paths, unreadable: problem };
  }

  /**
   * The drop-ins that match the patterns, in the order of their names, in which most programs read them. If several
   * have the same name, only that of the first pattern is returned: it overrides the rest.
   */
  dropIns(patterns: readonly string[]): { paths: readonly string[]; unreadable?: Unreadable } {
    const byName = new Map<string, string>();
    let problem: Unreadable | undefined;
    for (const pattern of patterns) {
      const { paths, unreadable } = this.expand(pattern);
      problem ??= unreadable;
      for (const path of paths) if (!byName.has(posix.basename(path))) byName.set(posix.basename(path), path);
    }
    const paths = [...byName].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, path]) => path);
    return problem === undefined ? { paths } : { paths, unreadable: problem };
  }

  #look<T>(path: string, look: () => T | Unreadable | undefined): Look<T> {
    if (isBelow(path, this.hidden)) return MISSING;
    if (isBelow(path, this.remote)) return unreadable(`${path} is on a network file system`);
    try {
      const found = look();
      if (found === undefined) return missing(path);
      return isUnreadable(found) ? found : { found };
    } catch (error) {
      const why = whyNot(error, path);
      return 'missing' in why ? missing(path) : why;
    }
  }
}

/** Whether a path is a pattern for `expand`. */
export const isGlob = (path: string): boolean => /[*?[]/.test(path);

/** A set of a pattern, with `!` or `^` in front of the characters that are not in it. */
const SET = /\[([!^]?)(\]?[^\][]*)\]/g;

/** @returns `undefined` if a set is not understood */
function matcherOf(part: string): ((name: string) => boolean) | undefined {
  if (!part.includes('[')) return (name) => matchesGlob(part, name);
  if (part.replaceAll(SET, '').includes('[')) return undefined;
  const text = part.replace(new RegExp(`${SET.source}|[^A-Za-z0-9]`, 'g'), (char, not?: string, set?: string) => {
    if (set !== undefined) return `[${not === '' ? '' : '^'}${set.replace(/[^A-Za-z0-9-]/g, '\\$&')}]`;
    return char === '*' ? '[\\s\\S]*' : char === '?' ? '[\\s\\S]' : `\\${char}`;
  });
  const compiled = compilePattern(`^${text}$`);
  return 'problem' in compiled ? undefined : compiled.matches;
}

const isBelow = (path: string, folders: readonly string[]) =>
  folders.some((folder) => path === folder || path.startsWith(`${folder}/`));

const isUnreadable = <T>(value: T | Unreadable): value is Unreadable =>
  typeof value === 'object' && value !== null && 'unreadable' in value;

/** A path that was not found. Its text may come from a listing, and stand for a name that exists. */
const missing = (path: string): Missing | Unreadable =>
  isLossy(path) ? unreadable(`${path} has a name that is not UTF-8`) : MISSING;

/** Translates an error of the file system into a result. */
export function whyNot(error: unknown, path: string): Missing | Unreadable {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
  // ESRCH: a process in /proc has ended.
  if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ESRCH') return MISSING;
  if (code === 'EACCES' || code === 'EPERM') return { unreadable: `no permission to read ${path}`, denied: true };
  return unreadable(`${path} can't be read: ${code}`);
}
