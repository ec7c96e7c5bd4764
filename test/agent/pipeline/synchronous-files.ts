import { closeSync, constants, fdatasync, fsyncSync, ftruncateSync, openSync, rmSync, writeSync } from 'node:fs';
import { type AppendFile, FOR_READING, type StoreFiles, systemFiles } from '../../../src/agent/pipeline/store-files.ts';

/** Files that are changed synchronously: what has returned survives a kill. */
export const synchronousFiles: StoreFiles = {
  ...systemFiles,

  create: (path) => new SynchronousFile(path),

  remove: (path) => rmSync(path, { force: true }),

  syncNow(path) {
    const file = openSync(path, FOR_READING);
    try {
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
  },
};

/** Open only from an append to the sync after it, like a file that is changed in the background. */
class SynchronousFile implements AppendFile {
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
