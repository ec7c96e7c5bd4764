import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readSync,
  type Stats,
  statSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { inRoot } from '../../host/in-root.ts';
import {
  attempt,
  type Beginning,
  type FilePosition,
  type LoginEntry,
  type LoginFeed,
  type LoginFile,
  placeOf,
} from './login-feed.ts';
import { BOOT_TIME, DEAD_PROCESS, parseUtmp, USER_PROCESS, type UtmpLayout, type UtmpRecord } from './utmp.ts';

/** Records read at a time, and re-read when a file is opened: logins of open sessions are usually among the last ones. */
const RECORDS_AT_ONCE = 512;
const LOOK_BACK = 1_000;

interface Opened {
  readonly fd: number;
  /** Offset of the next record to read. */
  offset: number;
  /** Records before `offset` were reported; those before `byTimeOffset` too if they are not later than `untilMs`. */
  readonly reported: { readonly offset: number; readonly byTimeOffset: number; readonly untilMs: number };
}

/** What logrotate(8) adds to the name of a file that it has not compressed: `.1`, or a date with `dateext`. */
const ROTATED = /^[.-]\d[\d.-]*$/;
/** Rotated files that are looked at. */
const MAX_ROTATED_FILES = 1_000;

interface Rotated {
  readonly place: string;
  readonly stats: Stats;
}

/** Reads wtmp or btmp. After rotations, what is left in the old files is read before the new one. */
export class UtmpFeed implements LoginFeed {
  readonly #file: LoginFile;
  readonly #origin: 'wtmp' | 'btmp';
  readonly #layout: UtmpLayout;
  readonly #buffer: Buffer;
  #open: Opened | undefined;
  /** Where rotated files are that are to be read next, oldest first. */
  #rotated: string[] = [];
  /** Entries read and not yet taken, each with the offset after it. */
  #entries: { entry: LoginEntry; next: number }[] = [];
  #position: FilePosition | undefined;
  #problem: string | undefined;
  #reportedUntilMs = 0;
  /** Whether the file existed, but could not be opened. */
  #existed = false;

  constructor(file: LoginFile, origin: 'wtmp' | 'btmp', layout: UtmpLayout) {
    this.#file = file;
    this.#origin = origin;
    this.#layout = layout;
    this.#buffer = Buffer.allocUnsafe(RECORDS_AT_ONCE * layout.bytes);
  }

  get position(): FilePosition | undefined {
    return this.#position;
  }

  get problem(): string | undefined {
    return this.#problem;
  }

  open(from: Beginning): void {
    this.#reportedUntilMs = from.reportedUntilMs;
    this.#problem = attempt(() => this.#begin(from));
    this.#existed = this.#problem !== undefined && this.#problem !== 'ENOENT';
  }

  #begin(from: Beginning): void {
    const { position, unread, reportedUntilMs } = from;
    this.#rotated = leftIn(this.#file, from);
    const fd = openFile(this.#next());
    const { ino, size } = fstatSync(fd);
    const end = size - (size % this.#layout.bytes);
    const isSame = position?.inode === ino && position.at <= end;
    const at = isSame ? position.at - (position.at % this.#layout.bytes) : position !== undefined || unread ? 0 : end;
    const reported = { offset: at, byTimeOffset: isSame ? at : end, untilMs: reportedUntilMs };
    this.#position = { inode: ino, at };
    this.#open = { fd, offset: Math.max(0, at - LOOK_BACK * this.#layout.bytes), reported };
  }

  /** The place of the file to read next. */
  #next = (): string => this.#rotated.shift() ?? placeOf(this.#file);

  fill(): void {
    this.#problem = attempt(() => {
      if (!this.#readOn() && this.#openReplacement()) this.#readOn();
    });
  }

  peek(): LoginEntry | undefined {
    return this.#entries[0]?.entry;
  }

  shift(): void {
    const taken = this.#entries.shift();
    if (taken !== undefined) this.#moveTo(taken.next);
  }

  close(): void {
    if (this.#open !== undefined) closeSync(this.#open.fd);
    this.#open = undefined;
    this.#entries = [];
  }

  /** @returns whether there was a record */
  #readOn(): boolean {
    const open = this.#open;
    if (open === undefined) return false;
    const { bytes } = this.#layout;
    const read = readSync(open.fd, this.#buffer, 0, this.#buffer.length, open.offset);
    const end = read - (read % bytes);
    for (let at = 0; at < end; at += bytes) {
      const record = parseUtmp(this.#buffer.subarray(at, at + bytes), this.#layout);
      const offset = open.offset + at;
      const entry = record === undefined ? undefined : this.#entryOf(record, isOld(record, offset, open));
      if (entry !== undefined) this.#entries.push({ entry, next: offset + bytes });
    }
    open.offset += end;
    if (this.#entries.length === 0) this.#moveTo(open.offset);
    return end > 0;
  }

  /** At the end of the file: checks whether it was truncated or replaced. @returns whether it was */
  #openReplacement(): boolean {
    const open = this.#open;
    const { ino, size } = open === undefined ? { ino: undefined, size: 0 } : fstatSync(open.fd);
    if (open !== undefined && size < open.offset) {
      this.#startAt(open.fd, { offset: 0, byTimeOffset: 0, untilMs: 0 });
      return true;
    }
    const path = this.#next();
    const inode = statSync(path, { throwIfNoEntry: false })?.ino;
    if (open !== undefined && (inode === undefined || inode === ino)) return false;
    const fd = openFile(path);
    this.close();
    // A file that could not be read until now is not a new one.
    const byTimeOffset = open === undefined && this.#existed ? fstatSync(fd).size : 0;
    this.#startAt(fd, { offset: 0, byTimeOffset, untilMs: this.#reportedUntilMs });
    return true;
  }

  #startAt(fd: number, reported: Opened['reported']): void {
    this.#open = { fd, offset: 0, reported };
    this.#position = { inode: fstatSync(fd).ino, at: 0 };
  }

  /** While earlier records are re-read, the position does not change. */
  #moveTo(offset: number): void {
    if (this.#position !== undefined && offset > this.#position.at)
      this.#position = { inode: this.#position.inode, at: offset };
  }

  #entryOf({ type, ...record }: UtmpRecord, isOld: boolean): LoginEntry | undefined {
    const kind = this.#origin === 'btmp' ? 'refusal' : kindOf(type, record.user);
    return kind === undefined ? undefined : { origin: this.#origin, kind, ...record, isOld };
  }
}

/** "A null username indicates a logout on the associated terminal": utmp(5). */
function kindOf(type: number, user: string): LoginEntry['kind'] | undefined {
  if (type === BOOT_TIME) return 'boot';
  if (type === DEAD_PROCESS) return 'logout';
  if (type !== USER_PROCESS) return undefined;
  return user === '' ? 'logout' : 'login';
}

const isOld = ({ timeMs }: UtmpRecord, offset: number, { reported }: Opened): boolean =>
  offset < reported.offset || (offset < reported.byTimeOffset && timeMs <= reported.untilMs);

/** Opens without blocking, even if the path is a FIFO. */
function openFile(path: string): number {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  if (fstatSync(fd).isFile()) return fd;
  closeSync(fd);
  throw Object.assign(new Error(`${path} is not a regular file`), { code: 'EINVAL' });
}

/**
 * The rotated files with entries that were not reported, oldest first: with a position, the one that it is in and all later
 * ones; if that is gone, or there is none, those that were written later than what was reported.
 */
function leftIn(file: LoginFile, { position, unread, reportedUntilMs }: Beginning): string[] {
  const isCurrent =
    position !== undefined && statSync(placeOf(file), { throwIfNoEntry: false })?.ino === position.inode;
  // A user can keep the folder locked, which blocks any process that lists it: so it is listed only after a rotation.
  if (isCurrent || (position === undefined && !unread)) return [];
  const rotated = rotatedFiles(file);
  const at = rotated.findIndex(({ stats }) => stats.ino === position?.inode);
  const isLeft = ({ stats }: Rotated) => unread && stats.mtimeMs > reportedUntilMs;
  const left = at >= 0 ? rotated.slice(at) : rotated.filter(isLeft);
  return left.map(({ place }) => place);
}

/** Into what a file was rotated, oldest first. Compressed files are not among them: their records can't be read. */
function rotatedFiles({ hostRoot, path }: LoginFile): Rotated[] {
  const folder = inRoot(hostRoot, dirname(path));
  const name = basename(path);
  return namesIn(folder)
    .filter((other) => other.startsWith(name) && ROTATED.test(other.slice(name.length)))
    .slice(0, MAX_ROTATED_FILES)
    .flatMap((other) => {
      const place = join(folder, other);
      const stats = lstatSync(place, { throwIfNoEntry: false });
      return stats?.isFile() ? [{ place, stats }] : [];
    })
    .sort((a, b) => a.stats.mtimeMs - b.stats.mtimeMs);
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // a file in it may be readable, even so
  }
}
