import {
  close,
  closeSync,
  constants,
  fsync,
  lstatSync,
  mkdirSync,
  open,
  openSync,
  readdirSync,
  readSync,
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
export const FOR_READING = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

function plainSize(path: string): number | undefined {
  try {
    const stats = lstatSync(path);
    return stats.isFile() ? stats.size : undefined;
  } catch {
    return undefined; // removed since it was listed, or a damaged disk
  }
}

/** The operating system's files, except for changes: those are made in the background. */
export const systemFiles: Pick<StoreFiles, 'makeFolder' | 'list' | 'read' | 'sync'> = {
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

  sync: (path) =>
    new Promise((resolve, reject) => {
      open(path, FOR_READING, (cannotOpen, file) => {
        if (cannotOpen) return reject(cannotOpen);
        fsync(file, (cannotSync) => close(file, () => (cannotSync ? reject(cannotSync) : resolve())));
      });
    }),
};
