import { closeSync, fstatSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

const READ_BYTES = 64 * 1024;
/** The kernel's records have at most 8,970 bytes, and auditd adds some. A longer line is skipped. */
const LONGEST_LINE = 32 * 1024;
/** auditd keeps at most 999 files; see num_logs in auditd.conf(5). */
const MAX_FILES = 1_000;

const LINE_END = 0x0a;

/** A position in the log that survives rotation: a renamed file keeps its inode. */
export interface LogPosition {
  readonly inode: number;
  readonly offset: number;
}

/** Where to resume in a log whose lines belong together. */
export interface ResumePoint extends LogPosition {
  /** Later than the position: events complete by here were reported. Absent when the two are equal. */
  readonly told?: LogPosition;
}

/** Takes a line: it is in `buffer` between `start` and `end`. Both are valid during the call only. */
export type TakeLine = (buffer: Buffer, start: number, end: number) => void;

/**
 * Reads a log line by line as it grows, and continues with the next file after a rotation: `audit.log` becomes `audit.log.1`,
 * that becomes `audit.log.2`, and so on. A truncated file is read from its start.
 */
export class LogTail {
  readonly #path: string;
  readonly #buffer = Buffer.allocUnsafeSlow(READ_BYTES + LONGEST_LINE);
  #fd: number | undefined;
  #inode = 0;
  /** Offset after the last complete line. */
  #offset = 0;
  /** Offset of the end of the file at the last read, which may be within a line. */
  #seen = 0;
  /** Whether the rest of a line that is too long is being skipped. */
  #skipping = false;

  constructor(path: string) {
    this.#path = path;
  }

  /** Where the next line begins. */
  get position(): LogPosition {
    return { inode: this.#inode, offset: this.#offset };
  }

  /** The present end of the log. @throws the error of the file system */
  get end(): LogPosition {
    const { ino: inode, size: offset } = statSync(this.#path);
    return { inode, offset };
  }

  /**
   * Opens the log at the position where it was left. If that file is gone: at the oldest one written to after `since`. Without
   * either: at the end.
   *
   * @param since milliseconds since the epoch
   * @returns whether the position was found
   * @throws the error of the file system
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
   * Reads up to 64 KiB of lines.
   *
   * @param until where to stop; the rest is left to a later read
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
    if (taken === 0 && until?.inode === this.#inode) return false; // `until` is within a line
    return taken > 0 || this.#next();
  }

  /** Safe to call twice. */
  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  /** @returns the number of bytes in complete lines */
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

  /** At the end of the file: continues with the one that replaced it. @returns whether there is one */
  #next(): boolean {
    const size = this.#fd === undefined ? 0 : fstatSync(this.#fd).size;
    if (size < this.#offset) {
      this.#offset = 0; // truncated
      return size > 0;
    }
    const files = this.#files();
    const at = files.findIndex(({ inode }) => inode === this.#inode);
    if (at === files.length - 1) return false;
    const next = files[at + 1]; // the oldest, if the current one was deleted
    if (next === undefined) return false;
    if (this.#fd !== undefined && fstatSync(this.#fd).size > this.#seen) return true; // written just before the rotation
    try {
      this.#use(next.path, 0);
      return true;
    } catch {
      return false; // it is being rotated: the next read finds it
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
      .filter((number) => Number.isInteger(number) && number > 0 && number < MAX_FILES)
      .sort((a, b) => b - a);
    return [...numbers.map((number) => `${name}.${number}`), name].flatMap((file) => {
      const path = join(folder, file);
      const stat = statSync(path, { throwIfNoEntry: false });
      return stat === undefined ? [] : [{ path, inode: stat.ino, size: stat.size, changedAt: stat.mtimeMs }];
    });
  }
}
