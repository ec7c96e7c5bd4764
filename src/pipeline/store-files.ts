import {
  close,
  closeSync,
  constants,
  fdatasync,
  fsync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  open,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';

/**
 * The few things the store asks of a file system. A seam, so that a test can tear, fill up and fail each of them.
 *
 * Every method throws, or rejects with, the error of the system call behind it.
 */
export interface StoreFiles {
  /** Makes a private folder, and those above it; one that is there already is fine. */
  makeFolder(folder: string): void;
  /** The plain files of a folder, in no particular order. */
  list(folder: string): { readonly name: string; readonly size: number }[];
  /** Fills `into` from `offset` on. @returns how many bytes there were, fewer than asked for at the end of the file */
  read(path: string, offset: number, into: Buffer): number;
  /** Makes a private file; one of that name must not be there yet. */
  create(path: string): AppendFile;
  /** A file that is gone already is fine. */
  remove(path: string): void;
  /** Makes a file outlast a power cut; or of a folder, which files there are. */
  sync(path: string): Promise<void>;
  /** The same, and holds up the caller, or whatever is asked for later, until it is done. */
  syncNow(path: string): void;
  /** Told when a change fails that was taken before, by files that are changed in the background. */
  onTrouble?(listener: (error: unknown) => void): void;
  /** Resolves when all changes so far are made, or it is known that they can't be made now. */
  settled?(): Promise<void>;
  /** Why changes that were taken wait in memory, if they do so for long. */
  readonly obstacle?: string | undefined;
}

/** A file that is written at its end only, now and again: while it is synced and idle, it need not be held open. */
export interface AppendFile {
  /** Writes all of it. When it throws, a part may have been written. `bytes` may be used again afterwards. */
  append(bytes: Buffer): void;
  truncate(size: number): void;
  /**
   * Makes what was appended before the call outlast a power cut. Does not hold up the caller's thread. Rejects with
   * NotWritten when that hasn't even been written.
   */
  sync(): Promise<void>;
  /** May be called while `sync` is under way, and twice. */
  close(): void;
}

/** The file system of the operating system. */
export const systemFiles: StoreFiles = {
  makeFolder: (folder) => void mkdirSync(folder, { recursive: true, mode: 0o700 }),

  list: (folder) =>
    readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ name }) => ({ name, size: statSync(join(folder, name)).size })),

  read(path, offset, into) {
    const file = openSync(path, 'r');
    try {
      let got = 0;
      while (got < into.length) {
        const more = readSync(file, into, got, into.length - got, offset + got);
        if (more === 0) break;
        got += more;
      }
      return got;
    } finally {
      closeSync(file);
    }
  },

  create: (path) => new SystemAppendFile(path),

  remove: (path) => rmSync(path, { force: true }),

  syncNow(path) {
    const file = openSync(path, 'r');
    try {
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
  },

  sync: (path) =>
    new Promise((resolve, reject) => {
      open(path, 'r', (cannotOpen, file) => {
        if (cannotOpen) return reject(cannotOpen);
        fsync(file, (cannotSync) => close(file, () => (cannotSync ? reject(cannotSync) : resolve())));
      });
    }),
};

/**
 * Open only from an append to the sync after it: a file that is open for writing would keep the operator from remounting
 * the disk read-only, and one that somebody deleted would be written for ever.
 */
class SystemAppendFile implements AppendFile {
  readonly #path: string;
  #file: number | undefined;
  #syncing = 0;
  #appends = 0;
  #closed = false;

  constructor(path: string) {
    this.#path = path;
    this.#file = openSync(path, 'ax', 0o600);
  }

  append(bytes: Buffer): void {
    const file = this.#opened();
    this.#appends += 1;
    let written = 0;
    while (written < bytes.length) written += writeSync(file, bytes, written, bytes.length - written);
  }

  truncate(size: number): void {
    this.#appends += 1;
    ftruncateSync(this.#opened(), size);
  }

  sync(): Promise<void> {
    const file = this.#file;
    if (file === undefined) return Promise.resolve();
    const appends = this.#appends;
    this.#syncing += 1;
    return new Promise((resolve, reject) => {
      fdatasync(file, (error) => {
        this.#syncing -= 1;
        if (this.#closed || (error === null && appends === this.#appends)) this.#release();
        if (error) reject(error);
        else resolve();
      });
    });
  }

  close(): void {
    this.#closed = true;
    this.#release();
  }

  /** Without O_CREAT: what was deleted meanwhile must not come back without its head. */
  #opened(): number {
    this.#file ??= openSync(this.#path, constants.O_WRONLY | constants.O_APPEND);
    return this.#file;
  }

  /** Closing a descriptor that another thread is syncing could make that thread sync a stranger's file. */
  #release(): void {
    if (this.#syncing > 0 || this.#file === undefined) return;
    closeSync(this.#file);
    this.#file = undefined;
  }
}
