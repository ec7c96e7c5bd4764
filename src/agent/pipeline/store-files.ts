import {
  close,
  closeSync,
  constants,
  fdatasync,
  fsync,
  fsyncSync,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  open,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';

/**
 * The file operations that the store needs. A seam, so that tests can tear, fill up and fail each of them.
 *
 * Every method throws, or rejects with, the error of the underlying system call.
 */
export interface StoreFiles {
  /** Makes a private folder, and those above it, if they do not exist. */
  makeFolder(folder: string): void;
  /** The entries of a folder, in no particular order. `size` is `undefined` for anything else than a readable plain file. */
  list(folder: string): { readonly name: string; readonly size: number | undefined }[];
  /** Fills `into` from `offset` on. @returns the bytes read: fewer than requested at the end of the file */
  read(path: string, offset: number, into: Buffer): number;
  /** Makes a private file. Throws if a file of that name exists. */
  create(path: string): AppendFile;
  /** Does not throw if the file does not exist. */
  remove(path: string): void;
  /** Makes a file, or the list of files in a folder, survive a power cut. */
  sync(path: string): Promise<void>;
  /** The same; blocks the caller, or later changes, until it is done. */
  syncNow(path: string): void;
  /** For files changed in the background: the listener is called when a change fails after its call has returned. */
  onFailure?(listener: (error: unknown) => void): void;
  /** Resolves when all earlier changes are made, or are known to be impossible at present. */
  settled?(): Promise<void>;
  /** Why changes have been waiting in memory for long; otherwise `undefined`. */
  readonly blockedReason?: string | undefined;
}

/** An append-only file. It need not be kept open while it is synced and idle. */
export interface AppendFile {
  /** Writes all bytes. When it throws, a part may have been written. The caller may reuse `bytes` afterwards. */
  append(bytes: Buffer): void;
  truncate(size: number): void;
  /**
   * Makes data appended before the call survive a power cut. Does not block the caller's thread. Rejects with
   * NotWritten if the appended bytes have not been written.
   */
  sync(): Promise<void>;
  /** May be called during `sync`, and more than once. */
  close(): void;
}

/** An entry that was replaced since it was listed is neither followed nor waited for. */
const FOR_READING = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

function plainSize(path: string): number | undefined {
  try {
    const stats = lstatSync(path);
    return stats.isFile() ? stats.size : undefined;
  } catch {
    return undefined; // removed since it was listed, or a damaged disk
  }
}

/** The file system of the operating system. */
export const systemFiles: StoreFiles = {
  makeFolder: (folder) => void mkdirSync(folder, { recursive: true, mode: 0o700 }),

  list: (folder) => readdirSync(folder).map((name) => ({ name, size: plainSize(join(folder, name)) })),

  read(path, offset, into) {
    const file = openSync(path, FOR_READING);
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
    const file = openSync(path, FOR_READING);
    try {
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
  },

  sync: (path) =>
    new Promise((resolve, reject) => {
      open(path, FOR_READING, (cannotOpen, file) => {
        if (cannotOpen) return reject(cannotOpen);
        fsync(file, (cannotSync) => close(file, () => (cannotSync ? reject(cannotSync) : resolve())));
      });
    }),
};

/**
 * Open only from an append to the sync after it: a file open for writing would prevent remounting the disk read-only, and
 * the agent would not notice that the file was deleted.
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

  /** Without O_CREAT: a file deleted in the meantime must not be created again without its head. */
  #opened(): number {
    this.#file ??= openSync(
      this.#path,
      constants.O_WRONLY | constants.O_APPEND | constants.O_NOFOLLOW | constants.O_NONBLOCK,
    );
    return this.#file;
  }

  /** Does nothing while another thread syncs the descriptor: its number could be reused, and the thread sync another file. */
  #release(): void {
    if (this.#syncing > 0 || this.#file === undefined) return;
    closeSync(this.#file);
    this.#file = undefined;
  }
}
