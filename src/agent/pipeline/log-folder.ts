import { join } from 'node:path';
import { errnoOf } from '../../core/base/errors.ts';
import { NotWritten } from '../state/background-writer.ts';
import type { FallbackFiles } from './fallback-files.ts';
import type { AppendFile, StoreFiles } from './store-files.ts';

/** Where a file is kept. */
export type Medium = 'disk' | 'memory';

/** A file of a log. */
export interface LogFile {
  readonly number: number;
  readonly path: string;
  /** Valid bytes. The file may be longer, by a write that failed and could not be undone. */
  size: number;
  /** Kept in memory because the disk cannot be written. */
  inMemory: boolean;
  /** While it can be written, or has yet to be synced. */
  file?: AppendFile;
  unsynced: boolean;
  /** Its head is known to survive a power cut. */
  lasting: boolean;
}

/**
 * The files of one log: which exist, which of them survive a power cut, and which may be deleted without losing the
 * state. The queues and the window log use it. Every file begins with the whole state; only the newest is appended to.
 *
 * A file is dead once nothing in it is in use and the state is not in it. See store.ts for when dead files are deleted.
 */
export class LogFolder<F extends LogFile> {
  readonly #files: FallbackFiles;
  readonly #path: string;
  readonly #isInUse: (file: F) => boolean;
  #nextNumber = 0;
  #alive: readonly F[] = [];
  #dead: readonly F[] = [];
  /** Files on disk needed to recover the state: the newest; after opening also those it was recovered from. */
  #stateIn = new Set<F>();
  #changed = false;
  /** Number of syncs that blocked the caller. */
  waits = 0;

  /** @param isInUse whether a file has contents that are needed besides the state */
  constructor(files: FallbackFiles, path: string, isInUse: (file: F) => boolean = () => false) {
    this.#files = files;
    this.#path = path;
    this.#isInUse = isInUse;
  }

  /** Begins with the files of earlier runs. @param stateFrom the number of the first one that the state was read from */
  open(found: readonly F[], nextNumber: number, stateFrom = 0): void {
    this.#alive = found;
    this.#stateIn = new Set(found.filter(({ number }) => number >= stateFrom));
    this.#nextNumber = nextNumber;
  }

  /** Files with contents in use, or the state, oldest first. */
  get files(): readonly F[] {
    return this.#alive;
  }

  /** Number of files that are to be deleted. */
  get deadFiles(): number {
    return this.#dead.length;
  }

  /** Bytes used, including framing and dead files that are not deleted yet. */
  bytesIn(medium: Medium): number {
    return sizeIn(medium, [...this.#alive, ...this.#dead]);
  }

  get needsSync(): boolean {
    return this.#changed || this.#dead.length > 0 || this.#alive.some(({ unsynced }) => unsynced);
  }

  holdsState(file: F): boolean {
    return this.#stateIn.has(file);
  }

  /** Makes a file. It is not part of the log until it is added. @throws the file system's error */
  create(): LogFile {
    const number = this.#nextNumber;
    this.#nextNumber += 1; // even if it fails: the file may exist
    const path = join(this.#path, fileName(number));
    const file = this.#files.create(path);
    const inMemory = this.#files.refuses;
    this.#changed ||= !inMemory;
    return { number, path, size: 0, inMemory, file, unsynced: true, lasting: false };
  }

  /** Adds a file after the state was written to it. */
  add(file: F): void {
    this.#alive = [...this.#alive, file];
    if (!file.inMemory) this.#stateIn = new Set([file]);
  }

  /** Appends in one write. @throws the file system's error; then a part may be written, see `undo` */
  append(file: LogFile, bytes: Buffer): void {
    if (file.file === undefined) throw new Error('The file is closed.');
    file.file.append(bytes);
    file.size += bytes.length;
    file.unsynced = true;
  }

  /** Undoes a failed write: truncates the file, or removes it if it was not added. @returns whether that succeeded */
  undo(file: LogFile): boolean {
    const isNew = !this.#alive.some((one) => one === file);
    try {
      if (isNew) this.#files.remove(file.path);
      else file.file?.truncate(file.size);
      return true;
    } catch {
      return false;
    } finally {
      if (isNew) closeFile(file);
    }
  }

  /** Finds dead files. Those in memory are freed at once. @returns all that have died since the last call */
  removeDead(): readonly F[] {
    const isAlive = (file: F) => this.#isInUse(file) || this.#stateIn.has(file);
    const dead = this.#alive.filter((file) => !isAlive(file));
    if (dead.length === 0) return dead;
    for (const { path } of dead.filter(({ inMemory }) => inMemory)) this.#files.remove(path);
    this.#dead = [...this.#dead, ...dead.filter(({ inMemory }) => !inMemory)];
    this.#alive = this.#alive.filter(isAlive);
    return dead;
  }

  /** Whether deleting a file does not make the state older that a power cut would leave. */
  canDelete(file: F): boolean {
    const lasting = [...this.#alive, ...this.#dead].filter((one) => one.lasting);
    const newest = lasting.reduce((best, { number }) => Math.max(best, number), -1);
    return newest >= 0 && newest !== file.number;
  }

  /** Deletes dead files now. @returns whether any was deleted */
  free(mayWait: boolean): boolean {
    return this.#delete((file) => this.#mayDelete(file, mayWait));
  }

  /**
   * Deletes all dead files now. On a disk that cannot sync they would fill it, and it does not guarantee that they survive a
   * power cut either.
   */
  freeAll(): void {
    this.free(true);
    this.#delete(() => true);
  }

  /** Deletes all files, and the state with them. @returns whether none is left */
  clear(): boolean {
    this.#dead = [...this.#alive, ...this.#dead];
    this.#alive = [];
    this.#stateIn = new Set();
    this.#delete(() => true);
    return this.#dead.length === 0;
  }

  /** Deletes a file that is not dead. @returns whether it was deleted: never one with the state */
  delete(file: F, mayWait: boolean): boolean {
    if (this.#stateIn.has(file) || !this.#mayDelete(file, mayWait) || !this.#remove(file)) return false;
    this.#alive = this.#alive.filter((one) => one !== file);
    return true;
  }

  /** Moves files from memory to the disk, oldest first. @throws the disk's error; the rest can be moved later */
  moveToDisk(): void {
    this.#files.makeFolder(this.#path);
    for (const file of this.#alive.filter(({ inMemory }) => inMemory)) {
      this.#changed = true;
      file.file = this.#files.move(file.path);
      file.inMemory = false;
      this.#stateIn = new Set([file]);
    }
  }

  /**
   * Syncs what was written before the call, then deletes dead files.
   *
   * @param isWritten whether a file will still be written; others are closed
   * @param failed called with the file that could not be synced, before this rejects. The kernel may have dropped its pages
   *   and marked them clean, so that a second sync would succeed regardless: only a new file is reliable
   */
  async sync({
    keepDead,
    isWritten,
    failed,
  }: {
    keepDead: boolean;
    isWritten: (file: F) => boolean;
    failed: (file: F) => void;
  }): Promise<void> {
    const dead = new Set(keepDead ? [] : this.#dead);
    for (const one of this.#alive.filter(({ unsynced, inMemory }) => unsynced && !inMemory)) {
      if (!this.#alive.includes(one)) continue; // evicted during a sync
      one.unsynced = false;
      try {
        await (one.file?.sync() ?? this.#files.sync(one.path));
      } catch (error) {
        if (!this.#alive.includes(one)) continue;
        if (error instanceof NotWritten) one.unsynced = true;
        else failed(one);
        throw error;
      } finally {
        if (!isWritten(one) && !one.unsynced) closeFile(one);
      }
    }
    if (this.#changed) {
      this.#changed = false;
      try {
        await this.#files.sync(this.#path);
      } catch (error) {
        this.#changed = true;
        throw error;
      }
    }
    for (const file of this.#alive) file.lasting ||= !file.unsynced;
    this.#delete((file) => dead.has(file));
  }

  /** Makes the state survive a power cut; blocks the caller, or later changes. @throws the file system's error */
  syncNow(): void {
    for (const { path } of this.#stateIn) this.#files.syncNow(path);
    this.#files.syncNow(this.#path); // always, because a sync of the folder may be under way
    for (const file of this.#stateIn) file.lasting = true;
  }

  close(): void {
    for (const file of [...this.#alive, ...this.#dead]) closeFile(file);
  }

  #mayDelete(file: F, mayWait: boolean): boolean {
    if (this.canDelete(file)) return true;
    if (!mayWait) return false;
    this.waits += 1;
    try {
      this.syncNow();
    } catch {
      return false;
    }
    return this.canDelete(file);
  }

  #delete(which: (file: F) => boolean): boolean {
    const before = this.#dead.length;
    this.#dead = this.#dead.filter((file) => !(which(file) && this.#remove(file)));
    return this.#dead.length < before;
  }

  #remove(file: F): boolean {
    closeFile(file);
    try {
      this.#files.remove(file.path);
      this.#changed = true;
      return true;
    } catch {
      return false;
    }
  }
}

export function closeFile(file: LogFile): void {
  file.file?.close();
  delete file.file;
}

export const mediumOf = ({ inMemory }: LogFile): Medium => (inMemory ? 'memory' : 'disk');

export const sizeIn = (medium: Medium, files: readonly LogFile[]): number =>
  files.reduce((all, file) => (mediumOf(file) === medium ? all + file.size : all), 0);

/** What the folder of a log contains. */
export interface FoundFiles {
  /** Oldest first. */
  readonly files: readonly LogFile[];
  /** Unused, and greater than the number of any file of the log; see freeNumber. */
  readonly nextNumber: number;
  /** Files of unknown kind or format version. They are never touched. */
  readonly keptAside: readonly string[];
}

/**
 * Finds the files of a log.
 *
 * @param head what its files begin with
 * @param maxBytes a larger file is kept aside
 * @throws the file system's error when the folder cannot be read
 */
export function findFiles(files: StoreFiles, folder: string, head: Buffer, maxBytes: number): FoundFiles {
  const own: LogFile[] = [];
  const keptAside: string[] = [];
  const entries = files.list(folder);
  for (const { name, size = Number.POSITIVE_INFINITY } of entries) {
    const number = fileNumber(name);
    const path = join(folder, name);
    if (Number.isSafeInteger(number) && size <= maxBytes && isHeadedBy(head, files, path))
      own.push({ number, path, size, inMemory: false, unsynced: false, lasting: false });
    else keptAside.push(name);
  }
  const numbers = own.map(({ number }) => number);
  const names = entries.map(({ name }) => name);
  own.sort((a, b) => a.number - b.number);
  return { files: own, nextNumber: freeNumber(numbers, names), keptAside: keptAside.sort() };
}

/**
 * Whether a file begins with this head. True also for a torn head, for one whose end is the zeros that a power cut can
 * leave, and for one with a single flipped bit outside of the format version, its last byte.
 *
 * @throws the file system's error, unless it means damage (EIO)
 */
function isHeadedBy(expected: Buffer, files: StoreFiles, path: string): boolean {
  const head = Buffer.alloc(expected.length);
  try {
    files.read(path, 0, head);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return false;
  }
  const written = head.subarray(0, head.findLastIndex((byte) => byte !== 0) + 1);
  return written.equals(expected.subarray(0, written.length)) || isFlipped(head, expected);
}

function isFlipped(head: Buffer, expected: Buffer): boolean {
  let bits = 0;
  for (const [index, byte] of head.entries())
    for (let rest = byte ^ (expected[index] ?? 0); rest > 0; rest &= rest - 1) bits += 1;
  return bits === 1 && head.at(-1) === expected.at(-1);
}

const NAME = /^([0-9a-f]{16})\.log$/;
const MAX_FOREIGN_NUMBER = 2 ** 46;

/** The number in the name of a log's file; NaN for other names. */
const fileNumber = (name: string): number => Number.parseInt(NAME.exec(name)?.[1] ?? '', 16);

export const fileName = (number: number): string => `${number.toString(16).padStart(16, '0')}.log`;

/**
 * The number of a log's next file: greater than those of its files, `own`. Numbers of other entries are passed as well,
 * but only up to a limit, since a higher one would use the numbers up; above it, only that number is skipped.
 */
export function freeNumber(own: readonly number[], names: readonly string[]): number {
  const foreign = names.map(fileNumber).filter((number) => number <= MAX_FOREIGN_NUMBER);
  const taken = new Set(names);
  let next = [...own, ...foreign].reduce((most, number) => Math.max(most, number + 1), 0);
  while (taken.has(fileName(next))) next += 1;
  return next;
}
