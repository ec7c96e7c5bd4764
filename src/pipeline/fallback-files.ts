import type { AppendFile, StoreFiles } from './store-files.ts';

/**
 * A disk, and memory for the time in which it cannot be written: new files are made in memory then, and moved to the
 * disk, under their own names, when it takes them again. Whoever reads, removes or syncs a file need not know where it
 * is. What is in memory is lost with the process.
 */
export class FallbackFiles implements StoreFiles {
  readonly #disk: StoreFiles;
  readonly #inMemory = new Map<string, MemoryFile>();
  /** Parts of files that could not be moved, nor removed. */
  readonly #remains = new Set<string>();
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

  /** From now on new files are made in memory. */
  refuse(why: unknown): void {
    this.#refusal ??= why;
  }

  /** From now on new files are made on the disk again. */
  accept(): void {
    this.#refusal = undefined;
    this.#tidy();
  }

  /** Moves a file from memory to the disk. @throws what the disk says; then it is still in memory */
  move(path: string): AppendFile {
    const file = this.#inMemory.get(path);
    if (file === undefined) throw new Error(`${path} is not in memory`);
    this.#tidy();
    const onDisk = this.#disk.create(path);
    try {
      onDisk.append(file.bytes);
    } catch (error) {
      onDisk.close();
      this.#remains.add(path);
      this.#tidy();
      throw error;
    }
    this.#inMemory.delete(path);
    return onDisk;
  }

  #tidy(): void {
    for (const path of this.#remains) {
      try {
        this.#disk.remove(path);
        this.#remains.delete(path);
      } catch {
        // The next time.
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
    return this.#inMemory.get(path)?.bytes.copy(into, 0, offset) ?? this.#disk.read(path, offset, into);
  }

  create(path: string): AppendFile {
    if (!this.refuses) return this.#disk.create(path);
    const file = new MemoryFile();
    this.#inMemory.set(path, file);
    return file;
  }

  remove(path: string): void {
    if (!this.#inMemory.delete(path)) this.#disk.remove(path);
  }

  async sync(path: string): Promise<void> {
    if (!this.#inMemory.has(path)) await this.#disk.sync(path);
  }

  syncNow(path: string): void {
    if (!this.#inMemory.has(path)) this.#disk.syncNow(path);
  }
}

class MemoryFile implements AppendFile {
  #buffer = Buffer.alloc(0);
  #size = 0;

  get bytes(): Buffer {
    return this.#buffer.subarray(0, this.#size);
  }

  append(bytes: Buffer): void {
    if (this.#size + bytes.length > this.#buffer.length) {
      const larger = Buffer.allocUnsafeSlow(Math.ceil(1.5 * (this.#size + bytes.length)));
      this.bytes.copy(larger);
      this.#buffer = larger;
    }
    this.#size += bytes.copy(this.#buffer, this.#size);
  }

  truncate(size: number): void {
    this.#size = size;
  }

  async sync(): Promise<void> {}

  close(): void {}
}
