import type { AppendFile, StoreFiles } from './store-files.ts';

const PAGE = 16 * 1024;

/**
 * A disk, with memory as a fallback. While the disk cannot be written, new files are made in memory; they are moved to
 * the disk, under their own names, when it can be written again. Reading, removing and syncing work the same for both.
 * Files in memory are lost when the process ends.
 */
export class FallbackFiles implements StoreFiles {
  readonly #disk: StoreFiles;
  readonly #inMemory = new Map<string, MemoryFile>();
  readonly #pages = new Pages();
  /** Paths of incomplete files on disk, left by a failed move, that are still to be removed. */
  readonly #leftovers = new Set<string>();
  #refusal: unknown;

  constructor(disk: StoreFiles) {
    this.#disk = disk;
  }

  /** Why new files are made in memory; `undefined` while they are made on the disk. */
  get refusal(): unknown {
    return this.#refusal;
  }

  get refuses(): boolean {
    return this.#refusal !== undefined;
  }

  /** Makes new files in memory from now on. */
  refuse(why: unknown): void {
    this.#refusal ??= why;
  }

  /** Makes new files on the disk again from now on. */
  accept(): void {
    this.#refusal = undefined;
    this.#pages.release();
    this.#tidy();
  }

  /** Moves a file from memory to the disk. @throws the disk's error; then it is still in memory */
  move(path: string): AppendFile {
    const file = this.#inMemory.get(path);
    if (file === undefined) throw new Error(`${path} is not in memory`);
    this.#tidy();
    const onDisk = this.#disk.create(path);
    try {
      for (const part of file.parts(0, Number.POSITIVE_INFINITY)) onDisk.append(part);
    } catch (error) {
      onDisk.close();
      this.#leftovers.add(path);
      this.#tidy();
      throw error;
    }
    this.#forget(path);
    return onDisk;
  }

  #forget(path: string): boolean {
    this.#inMemory.get(path)?.free();
    return this.#inMemory.delete(path);
  }

  #tidy(): void {
    for (const path of this.#leftovers) {
      try {
        this.#disk.remove(path);
        this.#leftovers.delete(path);
      } catch {
        // Retried at the next call.
      }
    }
  }

  makeFolder(folder: string): void {
    this.#disk.makeFolder(folder);
  }

  list(folder: string) {
    return this.#disk.list(folder);
  }

  read(path: string, offset: number, into: Buffer): number {
    return this.#inMemory.get(path)?.read(offset, into) ?? this.#disk.read(path, offset, into);
  }

  create(path: string): AppendFile {
    if (!this.refuses) return this.#disk.create(path);
    const file = new MemoryFile(this.#pages);
    this.#inMemory.set(path, file);
    return file;
  }

  remove(path: string): void {
    if (!this.#forget(path)) this.#disk.remove(path);
  }

  async sync(path: string): Promise<void> {
    if (!this.#inMemory.has(path)) await this.#disk.sync(path);
  }

  syncNow(path: string): void {
    if (!this.#inMemory.has(path)) this.#disk.syncNow(path);
  }
}

/** A pool of pages for files in memory. Pages are reused, so that they need not be garbage-collected. */
class Pages {
  #free: Buffer[] = [];

  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(PAGE);
  }

  putBack(pages: readonly Buffer[]): void {
    this.#free.push(...pages);
  }

  release(): void {
    this.#free = [];
  }
}

class MemoryFile implements AppendFile {
  readonly #pages: Pages;
  #taken: Buffer[] = [];
  #size = 0;

  constructor(pages: Pages) {
    this.#pages = pages;
  }

  /** The bytes of a part, in order, a page or less at a time. */
  *parts(from: number, to: number): Generator<Buffer> {
    for (let at = from; at < Math.min(to, this.#size); ) {
      const start = at % PAGE;
      const part = this.#page(at).subarray(start, start + Math.min(to, this.#size) - at);
      yield part;
      at += part.length;
    }
  }

  read(offset: number, into: Buffer): number {
    let got = 0;
    for (const part of this.parts(offset, offset + into.length)) got += part.copy(into, got);
    return got;
  }

  append(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; ) {
      const copied = bytes.copy(this.#page(this.#size), this.#size % PAGE, at);
      at += copied;
      this.#size += copied;
    }
  }

  truncate(size: number): void {
    this.#size = size;
  }

  async sync(): Promise<void> {}

  close(): void {}

  free(): void {
    this.#pages.putBack(this.#taken);
    this.#taken = [];
    this.#size = 0;
  }

  #page(at: number): Buffer {
    const index = Math.floor(at / PAGE);
    const page = this.#taken[index] ?? this.#pages.take();
    this.#taken[index] = page;
    return page;
  }
}
