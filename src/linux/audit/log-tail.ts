import { closeSync, fstatSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

const READ_BYTES = 64 * 1024;
/** The kernel's records have at most 8,970 bytes, and auditd adds some. A longer line is none of its own: passed over. */
const LONGEST_LINE = 32 * 1024;
/** auditd keeps at most 999 files; see num_logs in auditd.conf(5). */
const MOST_FILES = 1_000;

const LINE_END = 0x0a;

/** A place in the log that holds over rotation: files are renamed, and their inodes stay. */
export interface LogPosition {
  readonly inode: number;
  readonly offset: number;
}

/** Where to go on in a log whose lines belong together. */
export interface ResumePoint extends LogPosition {
  /** Later than the position: what was complete by here has been told. Absent when the position is where that ends. */
  readonly told?: LogPosition;
}

/** Takes a line: it lies in `buffer` between `start` and `end`. Both only hold during the call. */
export type TakeLine = (buffer: Buffer, start: number, end: number) => void;

/**
 * Reads a log line by line as it grows, and goes on with the next file when it was rotated: `audit.log` becomes
 * `audit.log.1`, that becomes `audit.log.2`, and so on. A file that is cut to nothing is read from its start.
 */
export class LogTail {
  readonly #path: string;
  readonly #buffer = Buffer.allocUnsafeSlow(READ_BYTES + LONGEST_LINE);
  #fd: number | undefined;
  #inode = 0;
  /** Up to where complete lines have been taken. */
  #offset = 0;
  /** Up to where the file has been looked at: it may end in the middle of a line. */
  #seen = 0;
  /** Whether the rest of a line that is too long is still to come. */
  #skipping = false;

  constructor(path: string) {
    this.#path = path;
  }

  /** Where the next line begins. */
  get position(): LogPosition {
    return { inode: this.#inode, offset: this.#offset };
  }

  /** Where the log ends now. @throws what the file system says */
  get end(): LogPosition {
    const { ino: inode, size: offset } = statSync(this.#path);
    return { inode, offset };
  }

  /**
   * Opens it where it was left. If that file isn't there any more: at the oldest one that was written to after `since`.
   * With neither, at its end.
   *
   * @param since milliseconds since the epoch
   * @returns whether it was found where it was left
   * @throws what the file system says
   */
  open({ position, since }: { position?: LogPosition | undefined; since?: number | undefined }): boolean {
    const files = this.#files();
    const left = files.find(({ inode }) => inode === position?.inode);
    const unread = since === undefined ? undefined : files.find(({ changedAt }) => changedAt >= since);
    const isThere = left !== undefined && position !== undefined && position.offset <= left.size;
    if (isThere) this.#use(left.path, position.offset);
    else if (unread !== undefined) this.#use(unread.path, 0);
    else this.#use(this.#path, statSync(this.#path).size);
    return isThere;
  }

  /**
   * Takes lines that are there, 64 KiB of them at most.
   *
   * @param until where to stop; what follows is left to a later read
   * @returns whether there is more to read at once
   */
  read(take: TakeLine, until?: LogPosition): boolean {
    if (this.#fd === undefined) return this.#next();
    let most = this.#buffer.length;
    if (until?.inode === this.#inode) {
      most = Math.min(most, until.offset - this.#offset);
      if (most <= 0) return false;
    }
    const length = readSync(this.#fd, this.#buffer, 0, most, this.#offset);
    this.#seen = this.#offset + length;
    if (length === 0) return this.#next();
    const taken = this.#takeLines(length, take);
    this.#offset += taken;
    if (taken === 0 && until?.inode === this.#inode) return false; // it ends within a line
    return taken > 0 || this.#next();
  }

  /** Safe to call twice. */
  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  /** @returns the bytes that lines took */
  #takeLines(length: number, take: TakeLine): number {
    let start = 0;
    for (;;) {
      const end = this.#buffer.subarray(0, length).indexOf(LINE_END, start);
      if (end === -1) break;
      if (this.#skipping) this.#skipping = false;
      else if (end - start <= LONGEST_LINE) take(this.#buffer, start, end);
      start = end + 1;
    }
    if (length - start < LONGEST_LINE) return start;
    this.#skipping = true;
    return length;
  }

  /** Nothing more in this file: goes on with the one that took its place. @returns whether there is one */
  #next(): boolean {
    const size = this.#fd === undefined ? 0 : fstatSync(this.#fd).size;
    if (size < this.#offset) {
      this.#offset = 0; // cut: what was in there is gone
      return size > 0;
    }
    const files = this.#files();
    const at = files.findIndex(({ inode }) => inode === this.#inode);
    if (at === files.length - 1) return false;
    const next = files[at + 1]; // the oldest, when ours has been deleted
    if (next === undefined) return false;
    if (this.#fd !== undefined && fstatSync(this.#fd).size > this.#seen) return true; // written just before the rotation
    try {
      this.#use(next.path, 0);
      return true;
    } catch {
      return false; // rotated again this moment, or between two files: the next look finds it
    }
  }

  #use(path: string, offset: number): void {
    const fd = openSync(path, 'r');
    this.close();
    this.#fd = fd;
    this.#inode = fstatSync(fd).ino;
    this.#offset = offset;
    this.#seen = offset;
    this.#skipping = false;
  }

  /** The log's files, oldest first. */
  #files(): { path: string; inode: number; size: number; changedAt: number }[] {
    const folder = dirname(this.#path);
    const name = basename(this.#path);
    const numbers = readdirSync(folder)
      .filter((file) => file.startsWith(`${name}.`))
      .map((file) => Number(file.slice(name.length + 1)))
      .filter((number) => Number.isInteger(number) && number > 0 && number < MOST_FILES)
      .sort((a, b) => b - a);
    return [...numbers.map((number) => `${name}.${number}`), name].flatMap((file) => {
      const path = join(folder, file);
      const stat = statSync(path, { throwIfNoEntry: false });
      return stat === undefined ? [] : [{ path, inode: stat.ino, size: stat.size, changedAt: stat.mtimeMs }];
    });
  }
}
