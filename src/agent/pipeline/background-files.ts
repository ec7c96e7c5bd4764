import { close, constants, fdatasync, mkdir, open, rename, rm, writev } from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { errnoOf } from '../../core/base/errors.ts';
import { type BackgroundWriter, MAX_TRIES, mayConcernOneFile, type Operation } from '../state/background-writer.ts';
import { type AppendFile, type StoreFiles, systemFiles } from './store-files.ts';

const promised = {
  open: promisify(open),
  close: promisify(close),
  writev: promisify(writev),
  fdatasync: promisify(fdatasync),
  mkdir: promisify(mkdir),
  rename: promisify(rename),
  remove: promisify(rm),
};

/**
 * Files that are changed in the background, see BackgroundWriter. Reads include changes that are not written yet, from
 * memory.
 *
 * A change throws at once only while the disk is known not to be writable, or when too many bytes wait to be written.
 * Reads, and the work at the agent's start, are done on the caller's thread.
 */
export class BackgroundFiles implements StoreFiles {
  readonly #writer: BackgroundWriter;
  readonly #files = new Map<string, BackgroundFile>();
  readonly #folders = new Set<string>();
  readonly #barriers = new Set<string>();

  constructor(writer: BackgroundWriter) {
    this.#writer = writer;
  }

  onFailure(listener: (error: unknown) => void): void {
    this.#writer.onFailure(listener);
  }

  get blockedReason(): string | undefined {
    return this.#writer.blockedReason;
  }

  /** Resolves when all changes made before the call are done, or the disk cannot be written. */
  async settled(): Promise<void> {
    await this.#writer.reached().catch(() => {});
  }

  /** Synchronous at the first call. A folder removed later is made again with the next file in it. */
  makeFolder(folder: string): void {
    if (this.#folders.has(folder)) return;
    systemFiles.makeFolder(folder);
    this.#folders.add(folder);
  }

  /** The files on disk, without those that wait to be written. */
  list(folder: string) {
    return systemFiles.list(folder);
  }

  read(path: string, offset: number, into: Buffer): number {
    const file = this.#files.get(path);
    if (file === undefined) return systemFiles.read(path, offset, into);
    return file.read(offset, into);
  }

  create(path: string): AppendFile {
    this.#writer.check(dirname(path));
    const file = new BackgroundFile(path, this.#writer, {
      appended: () => this.#barriers.delete(path), // a sync that waits is before this append
      forgotten: () => this.#files.delete(path),
    });
    this.#files.set(path, file);
    return file;
  }

  remove(path: string): void {
    this.#files.get(path)?.forget();
    this.#files.delete(path);
    this.#writer.record({ kind: 'remove', path });
    this.#writer.add({
      bytes: 0,
      frees: true,
      run: () => promised.remove(path, { force: true }),
      // The file stays on the disk. It is not used: the next start of the agent detects that, and removes it.
      shouldGiveUp: (error, tries) => mayConcernOneFile(error) && (tries >= MAX_TRIES || errnoOf(error) !== 'EIO'),
    });
  }

  async sync(path: string): Promise<void> {
    await this.#writer.reached();
    await this.#writer.syncs.run(() => systemFiles.sync(path));
  }

  /**
   * Makes later changes wait until this file is synced. If a sync of the file is already waiting, and nothing was appended
   * since, no other is added: otherwise the queue would grow without limit on a disk that syncs more slowly than this is
   * called.
   */
  syncNow(path: string): void {
    if (this.#barriers.has(path)) return;
    this.#barriers.add(path);
    this.#writer.add({
      bytes: 0,
      run: async () => {
        this.#barriers.delete(path);
        await systemFiles.sync(path).catch(() => {}); // the next `sync` fails, too, and reports it
      },
    });
  }
}

/** An entry that has replaced the file is neither followed nor waited for. */
const FOR_WRITING = constants.O_WRONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** Consecutive writes to a file are merged into one. */
interface Append extends Operation {
  bytes: number;
  /** Length of the file after it, in bytes. */
  end: number;
}

/**
 * One file. Open only from a write to the sync after it: a file open for writing would prevent remounting the disk
 * read-only, and the agent would not notice that the file was deleted.
 */
class BackgroundFile implements AppendFile {
  readonly #path: string;
  readonly #writer: BackgroundWriter;
  readonly #appended: () => void;
  readonly #forgotten: () => void;
  /** Bytes on disk, and bytes including those that wait to be written. */
  #written = 0;
  #size = 0;
  #parts: Buffer[] = [];
  #append: Append | undefined;
  #file: number | undefined;
  #isCreated = false;
  #uses = 0;
  #isClosed = false;
  #failure: unknown;

  constructor(
    path: string,
    writer: BackgroundWriter,
    { appended, forgotten }: { appended: () => void; forgotten: () => void },
  ) {
    this.#path = path;
    this.#writer = writer;
    this.#appended = appended;
    this.#forgotten = forgotten;
    this.#writer.record({ kind: 'create', path });
    this.#writer.add({
      owner: this,
      bytes: 0,
      run: () => this.#create(),
      shouldGiveUp: (error, tries) => this.#isLost(error, tries),
    });
  }

  append(bytes: Buffer): void {
    if (this.#failure !== undefined) throw this.#failure;
    this.#writer.check(dirname(this.#path));
    const copy = Buffer.allocUnsafeSlow(bytes.length);
    bytes.copy(copy);
    this.#writer.record({ kind: 'append', path: this.#path, offset: this.#size, bytes: copy });
    this.#parts.push(copy);
    this.#size += copy.length;
    const last = this.#append;
    if (last !== undefined && this.#writer.last === last) {
      last.bytes += copy.length;
      last.end = this.#size;
      this.#writer.addBytes(copy.length);
      return;
    }
    const append: Append = {
      owner: this,
      path: this.#path,
      bytes: copy.length,
      end: this.#size,
      run: () => this.#write(append.end),
      shouldGiveUp: (error, tries) => this.#isLost(error, tries),
    };
    this.#append = append;
    this.#writer.add(append);
    this.#appended();
  }

  /** Called after an append that threw, which has added nothing: only the current size is valid. */
  truncate(size: number): void {
    if (size !== this.#size) throw new RangeError(`${this.#path} has ${this.#size} bytes, not ${size}`);
  }

  async sync(): Promise<void> {
    const size = this.#size;
    await this.#writer.reached();
    if (this.#failure !== undefined) throw this.#failure;
    const file = this.#file;
    if (file === undefined) return; // closed after everything was synced
    await this.#using(() => this.#writer.syncs.run(() => promised.fdatasync(file)));
    if (this.#size === size) this.#release();
  }

  close(): void {
    this.#isClosed = true;
    if (this.#parts.length === 0) this.#release();
  }

  /** Cancels what waits to be written: the file is about to be removed. */
  forget(): void {
    this.#writer.cancel((operation) => operation.owner === this);
    this.#failure = new Error(`${this.#path} is removed`);
    this.#parts = [];
    this.close();
  }

  read(offset: number, into: Buffer): number {
    const fromDisk = Math.max(0, Math.min(into.length, this.#written - offset));
    let got = fromDisk > 0 ? systemFiles.read(this.#path, offset, into.subarray(0, fromDisk)) : 0;
    if (got < fromDisk) return got;
    let at = this.#written;
    for (const part of this.#parts) {
      if (got < into.length && offset + got < at + part.length) {
        got += part.copy(into, got, Math.max(0, offset + got - at));
      }
      at += part.length;
    }
    return got;
  }

  async #create(): Promise<void> {
    const make = () => promised.open(this.#path, 'wx', 0o600);
    try {
      this.#file = await make();
    } catch (error) {
      if (errnoOf(error) === 'EEXIST') {
        // The file was made by a failed attempt, or another program has put something here: nothing of this run is in it.
        await promised.rename(this.#path, `${this.#path}.set-aside`);
      } else if (errnoOf(error) === 'ENOENT') {
        await promised.mkdir(dirname(this.#path), { recursive: true, mode: 0o700 });
      } else throw error;
      this.#file = await make();
    }
    this.#isCreated = true;
    if (this.#isClosed && this.#parts.length === 0) this.#release();
  }

  /** Writes at the file's offset, so that a retry overwrites what a failed attempt left. */
  async #write(end: number): Promise<void> {
    // Without O_CREAT: a file deleted in the meantime must not be created again without its head.
    this.#file ??= await promised.open(this.#path, FOR_WRITING);
    const file = this.#file;
    await this.#using(async () => {
      while (this.#written < end && this.#failure === undefined) {
        const { bytesWritten } = await promised.writev(file, this.#upTo(end), this.#written);
        this.#wrote(bytesWritten);
      }
    });
  }

  /** The parts not written yet, up to an offset. Parts added later are not included. */
  #upTo(end: number): Buffer[] {
    const parts: Buffer[] = [];
    let at = this.#written;
    for (const part of this.#parts) {
      if (at >= end) break;
      parts.push(part.subarray(0, end - at));
      at += part.length;
    }
    return parts;
  }

  #wrote(bytes: number): void {
    this.#written += bytes;
    let left = bytes;
    while (left > 0) {
      const first = this.#parts[0];
      if (first === undefined) return; // dropped in the meantime
      if (first.length > left) this.#parts[0] = first.subarray(left);
      else this.#parts.shift();
      left -= Math.min(left, first.length);
    }
  }

  /** The file was removed or locked, or its sectors are broken: its unwritten parts are lost, and later found missing. */
  #isLost(error: unknown, tries: number): boolean {
    const errno = errnoOf(error) ?? '';
    const isFolders = !this.#isCreated && ['ENOENT', 'EACCES', 'EPERM'].includes(errno);
    const isCertain = ['ENOENT', 'ESTALE', 'EEXIST', 'EISDIR'].includes(errno);
    if (isFolders || !mayConcernOneFile(error) || (!isCertain && tries < MAX_TRIES)) return false;
    this.#failure = error;
    this.#parts = [];
    queueMicrotask(() => this.#writer.cancel((operation) => operation.owner === this));
    this.#forgotten();
    this.close();
    return true;
  }

  async #using<T>(work: () => Promise<T>): Promise<T> {
    this.#uses += 1;
    try {
      return await work();
    } finally {
      this.#uses -= 1;
      if (this.#isClosed && this.#parts.length === 0) this.#release();
    }
  }

  /** Does nothing while another thread uses the descriptor: its number could be reused, and the thread sync another file. */
  #release(): void {
    const file = this.#file;
    if (file === undefined || this.#uses > 0) return;
    this.#file = undefined;
    close(file, () => {});
  }
}
