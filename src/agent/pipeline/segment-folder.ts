import { errnoOf } from '../../core/base/errors.ts';
import { NotWritten } from '../state/background-writer.ts';
import type { FallbackFiles } from './fallback-files.ts';
import { emptySegment, type Recovered, recover, type Segment, unreadLog } from './recovery.ts';

/** Where a segment is kept. */
export type Medium = 'disk' | 'memory';

/**
 * The files of one log: which exist, which of them survive a power cut, and which may be deleted without losing the
 * state.
 *
 * A segment is dead once none of its events is queued and the state is not in it. See store.ts for when dead segments
 * are deleted.
 */
export class SegmentFolder {
  readonly #files: FallbackFiles;
  readonly #path: string;
  #nextNumber = 0;
  #segments: readonly Segment[] = [];
  #dead: readonly Segment[] = [];
  /** Segments on disk needed to recover the state: the newest; after opening also those it was recovered from. */
  #stateIn = new Set<Segment>();
  #changed = false;
  /** Number of syncs that blocked the caller. */
  waits = 0;

  constructor(files: FallbackFiles, path: string) {
    this.#files = files;
    this.#path = path;
  }

  /**
   * Makes the folder, or reads the log in it. If the disk allows neither, new files are made in memory.
   *
   * @param start the number and the position at which a log begins that cannot be read: higher than any that it can contain,
   *   so that the next run finds both the old events and the new ones
   */
  open(start: number): Recovered {
    const found = this.#read(start);
    this.#segments = found.segments;
    this.#stateIn = new Set(found.segments.filter(({ number }) => number >= found.stateFrom));
    this.#nextNumber = found.nextNumber;
    return found;
  }

  #read(start: number): Recovered {
    try {
      this.#files.makeFolder(this.#path);
    } catch (error) {
      this.#files.refuse(error);
    }
    try {
      return recover(this.#files, this.#path);
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      this.#files.refuse(error);
      return unreadLog(errnoOf(error) === 'ENOENT' ? 0 : start);
    }
  }

  /** Segments with queued events or the state, oldest first. */
  get segments(): readonly Segment[] {
    return this.#segments;
  }

  /** Bytes used, including framing and dead segments that are not deleted yet. */
  bytesIn(medium: Medium): number {
    return sizeIn(medium, [...this.#segments, ...this.#dead]);
  }

  get needsSync(): boolean {
    return this.#changed || this.#dead.length > 0 || this.#segments.some(({ unsynced }) => unsynced);
  }

  holdsState(segment: Segment): boolean {
    return this.#stateIn.has(segment);
  }

  /** Makes a segment that begins at a position. It is not used until it is added. @throws the file system's error */
  create(position: number): Segment {
    const segment = emptySegment(this.#path, this.#nextNumber, position);
    this.#nextNumber += 1; // even if it fails: the file may exist
    segment.file = this.#files.create(segment.path);
    segment.inMemory = this.#files.refuses;
    this.#changed ||= !segment.inMemory;
    return segment;
  }

  /** Adds a segment after its checkpoint was written. */
  add(segment: Segment): void {
    this.#segments = [...this.#segments, segment];
    if (!segment.inMemory) this.#stateIn = new Set([segment]);
  }

  /** Finds dead segments. Those in memory are freed at once. @returns all dead segments */
  removeDead(): readonly Segment[] {
    const isAlive = (segment: Segment) => segment.events > 0 || this.#stateIn.has(segment);
    const dead = this.#segments.filter((segment) => !isAlive(segment));
    if (dead.length === 0) return dead;
    for (const { path } of dead.filter(({ inMemory }) => inMemory)) this.#files.remove(path);
    this.#dead = [...this.#dead, ...dead.filter(({ inMemory }) => !inMemory)];
    this.#segments = this.#segments.filter(isAlive);
    return dead;
  }

  /** Whether deleting a segment does not make the state older that a power cut would leave. */
  outlasts(segment: Segment): boolean {
    const lasting = [...this.#segments, ...this.#dead].filter((one) => one.lasting);
    const newest = lasting.reduce((best, { number }) => Math.max(best, number), -1);
    return newest >= 0 && newest !== segment.number;
  }

  /** Deletes dead segments now. @returns whether any was deleted */
  free(mayWait: boolean): boolean {
    const before = this.#dead.length;
    this.#dead = this.#dead.filter((segment) => !(this.#mayDelete(segment, mayWait) && this.#remove(segment)));
    return this.#dead.length < before;
  }

  /** Deletes a segment that is not dead. @returns whether it was deleted: never one with the state */
  delete(segment: Segment, mayWait: boolean): boolean {
    if (this.#stateIn.has(segment) || !this.#mayDelete(segment, mayWait) || !this.#remove(segment)) return false;
    this.#segments = this.#segments.filter((one) => one !== segment);
    return true;
  }

  /** Moves segments from memory to the disk, oldest first. @throws the disk's error; the rest can be moved later */
  moveToDisk(): void {
    this.#files.makeFolder(this.#path);
    for (const segment of this.#segments.filter(({ inMemory }) => inMemory)) {
      this.#changed = true;
      segment.file = this.#files.move(segment.path);
      segment.inMemory = false;
      this.#stateIn = new Set([segment]);
    }
  }

  /**
   * Syncs what was written before the call, then deletes dead segments.
   *
   * @param isWritten whether a segment will still be written; others are closed
   * @param failed called with the segment that could not be synced, before this rejects
   */
  async sync({
    keepDead,
    isWritten,
    failed,
  }: {
    keepDead: boolean;
    isWritten: (segment: Segment) => boolean;
    failed: (segment: Segment) => void;
  }): Promise<void> {
    const dead = new Set(keepDead ? [] : this.#dead);
    for (const segment of this.#segments.filter(({ unsynced, inMemory }) => unsynced && !inMemory)) {
      if (!this.#segments.includes(segment)) continue; // evicted during a sync
      segment.unsynced = false;
      try {
        await (segment.file?.sync() ?? this.#files.sync(segment.path));
      } catch (error) {
        if (!this.#segments.includes(segment)) continue;
        if (error instanceof NotWritten) segment.unsynced = true;
        else failed(segment);
        throw error;
      } finally {
        if (!isWritten(segment) && !segment.unsynced) closeFile(segment);
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
    for (const segment of this.#segments) segment.lasting ||= !segment.unsynced;
    this.#dead = this.#dead.filter((segment) => !dead.has(segment) || !this.#remove(segment));
  }

  close(): void {
    for (const segment of [...this.#segments, ...this.#dead]) closeFile(segment);
  }

  #mayDelete(segment: Segment, mayWait: boolean): boolean {
    if (this.outlasts(segment)) return true;
    if (!mayWait) return false;
    this.waits += 1;
    try {
      for (const { path } of this.#stateIn) this.#files.syncNow(path);
      this.#files.syncNow(this.#path);
    } catch {
      return false;
    }
    for (const one of this.#stateIn) one.lasting = true;
    return this.outlasts(segment);
  }

  #remove(segment: Segment): boolean {
    closeFile(segment);
    try {
      this.#files.remove(segment.path);
      this.#changed = true;
      return true;
    } catch {
      return false;
    }
  }
}

export function closeFile(segment: Segment): void {
  segment.file?.close();
  delete segment.file;
}

export const mediumOf = ({ inMemory }: Segment): Medium => (inMemory ? 'memory' : 'disk');

export const sizeIn = (medium: Medium, segments: readonly Segment[]): number =>
  segments.reduce((all, segment) => (mediumOf(segment) === medium ? all + segment.size : all), 0);
