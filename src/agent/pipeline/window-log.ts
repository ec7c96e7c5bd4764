/*
 * The window log: what has been counted in the open aggregation windows, on disk.
 *
 * A log is a folder with one append-only file. The file lists the open windows and their elements, followed by the
 * changed counts of each save. When the file is several times larger than its current content, the content is rewritten
 * to a second file, and the first one is deleted.
 *
 *   head        'VaktAgg', then the format version, one byte
 *   records     as framing.ts says; the body (window-records.ts) is a type, one byte, and
 *     1 open        JSON { window, name, type, version, queue, interval, closesAt: milliseconds since the epoch }
 *     2 element     n element │ n window │ n hits │ t first │ n last − first │ payload as JSON
 *     3 counts      for each element that changed: n element │ n hits │ t first │ n last − first
 *     4 leave       n queue │ n next │ for each event: 16 bytes id │ n window │ n number of elements │ n element …
 *     5 ended       n index of an event in the last leave │ n next
 *     6 complete    empty
 *   n is an unsigned number, seven bits a byte, lowest first, the eighth bit set on all but the last byte (LEB128);
 *   t is a signed one, as n: 2t, or −2t − 1 when negative.
 *
 * Invariants
 *
 *   1. Counts are absolute, never differences, so the next record replaces one that is damaged or missing.
 *   2. The log is the newest file with a `complete`, which ends the copy of the log that a new file begins with. An
 *      older file is deleted when the newer one is synced (log-folder.ts). If no file is complete, the newest one counts.
 *   3. An element is in the log until it has left for its queue, and in the queue from then on; never in both or
 *      neither. The queue's next position decides. A `leave` lists the events that are about to be put, their
 *      elements, and the position of the first event. If the queue has assigned an event's position, the event is in
 *      the queue, and its elements have left; otherwise they are still in the log. `ended` corrects the positions of
 *      the events after one that was dropped (and counted by the queue), or after an event from elsewhere that was put
 *      in between, and that of an event whose expected position was burnt, see store.ts.
 *   4. A `leave` is synced before its events are put, those of a table that overflows at most once a second. A file
 *      with a `leave` is kept until the queue has synced the events, unless its space is needed. So events that a queue
 *      has only in memory, because its disk cannot be written, are recovered from the log after a kill.
 *   5. All files together never exceed the log's share of the disk. A write that would exceed it is preceded by a
 *      rewrite, and the older files are deleted once the new one is synced.
 *
 * What a crash at each point leaves. A *kill* ends the process; a *power cut* also loses what was not synced.
 *
 *   save        One write of everything changed since the last one. Kill during the write: the torn last record is
 *               skipped, and the counts are as of the previous write. Power cut: the counts of the last sync, which
 *               is done once in `store.syncEvery`, a second by default.
 *   leave       One write, a sync, then the events are put one by one. Kill or power cut before an event is put: it is
 *               put, with the same id, when the log is next opened. After it: the event isn't put again. Power cut
 *               before the queue has synced the event: it is put again, with the same id. If a table overflows several
 *               times within a second, a power cut can lose the leave and keep the events: they are repeated.
 *   rewrite     Kill or power cut during it: the new file isn't complete, and the old one counts.
 *   open        Only reads. Its result is then rewritten to a new file, and events not put yet get another leave. Kill
 *               or power cut during it: the next open has the same result.
 *
 * When a write fails, its partial data is truncated, and the next write contains the same changes. When a leave cannot
 * be written, its elements leave anyway. The disk then has elements that have left, so the log is rewritten as
 * soon as possible; if the disk is full, the old file is deleted first. After a kill before the rewrite, they are
 * repeated.
 */

import type { Clock } from '../../core/base/clock.ts';
import { QUEUES, type QueueName } from '../../core/contract/event.ts';
import { isFull, NotWritten } from '../state/background-writer.ts';
import type { Element } from './element-table.ts';
import { FallbackFiles } from './fallback-files.ts';
import { FRAME } from './framing.ts';
import { closeFile, type LogFile, LogFolder } from './log-folder.ts';
import type { StoreFiles } from './store-files.ts';
import type { Window } from './window.ts';
import { type Leaving, LOG_HEAD, LogWriter } from './window-records.ts';
import { type RecoveredCounts, readLog } from './window-recovery.ts';

/** A file is rewritten when it is longer than TIMES its current content plus SLACK bytes. */
const TIMES = 3;
const SLACK = 16 * 1024;
/** The part of the log's share that is kept free for a rewrite: more than all elements take. */
const FREE_FOR_REWRITE = 1 / 2;
/** Largest record of an event that did not get its expected position, see `ended`. */
const ENDED_BYTES = FRAME + 17;
/** Approximate bytes of an element without its payload, and of a window. */
const ELEMENT_OVERHEAD = FRAME + 24;
const WINDOW_OVERHEAD = 256;
/** Limit of old files that wait for the sync of the file that replaces them. */
const MAX_OLD_FILES = 4;
/** Bytes per write of a rewrite. */
const PIECE = 64 * 1024;

/** The positions of a queue; see EventQueues.positions. */
export type PositionsOf = (queue: QueueName) => { readonly next: number; readonly lasting: number };

/** The counts on disk; see above. Only one process may write a log. */
export class WindowLog {
  /** Never told to refuse: while the disk cannot be written, the counts are in memory anyway. */
  readonly #files: FallbackFiles;
  readonly #path: string;
  readonly #folder: LogFolder<LogFile>;
  readonly #windows: () => Iterable<Window>;
  readonly #positions: PositionsOf;
  readonly #clock: Clock;
  readonly #maxBytes: () => number;
  readonly #writer = new LogWriter();
  #open = false;
  /** The queues' next positions at the end of the previous run. */
  readonly #nextAtStart: Partial<Record<QueueName, number>> = {};
  #current: LogFile | undefined;
  /** After a rewrite failed: the file size, in bytes, from which it is retried. */
  #longFrom = 0;
  #nextWindow = 0;
  #nextElement = 0;
  /** Elements have left, but the files still contain them. */
  #stale = false;
  /** The positions up to which the queues must be synced before the current file may be deleted. */
  #awaited: Partial<Record<QueueName, number>> = {};

  constructor(options: {
    files: StoreFiles;
    folder: string;
    windows: () => Iterable<Window>;
    positions: PositionsOf;
    clock: Clock;
    /** Limit of all files together, in bytes: at least four times what the windows may hold in memory. */
    maxBytes: () => number;
  }) {
    this.#files = new FallbackFiles(options.files);
    this.#path = options.folder;
    this.#folder = new LogFolder(this.#files, options.folder);
    this.#windows = options.windows;
    this.#positions = options.positions;
    this.#clock = options.clock;
    this.#maxBytes = options.maxBytes;
  }

  /**
   * Reads the log of an earlier run. At the first call the queues must still be in the state that this run left.
   *
   * @returns an error if the disk cannot be used; then nothing is written until another call succeeds
   */
  open(): { found: RecoveredCounts; error?: unknown } {
    for (const queue of QUEUES) this.#nextAtStart[queue] ??= this.#positions(queue).next;
    try {
      this.#files.makeFolder(this.#path);
      const { files, nextNumber, ...found } = readLog(
        this.#files,
        this.#path,
        (queue) => this.#nextAtStart[queue] ?? 0,
      );
      this.#folder.open(files, nextNumber);
      this.#open = true;
      return { found };
    } catch (error) {
      return { found: { windows: [], lost: 0, damaged: [], keptAside: [] }, error };
    }
  }

  /** Whether there is something to write. */
  get hasPending(): boolean {
    if (!this.#open) return false;
    if (this.#stale) return true;
    const isNothingWritten = this.#current === undefined;
    if (isNothingWritten && this.#folder.files.length > 0) return true; // old files are deleted after a new one is written
    for (const { changed, elements } of this.#windows())
      if (changed.length > 0 || (isNothingWritten && elements.size > 0)) return true;
    return false;
  }

  get needsSync(): boolean {
    return this.#open && this.#folder.needsSync;
  }

  /** Writes what has changed. @returns the error if it failed; the changes are then written by the next call */
  save(): unknown {
    if (!this.hasPending) return undefined;
    if (this.#current === undefined || this.#stale || this.#isLong()) {
      const error = this.#rewrite();
      if (error === undefined || this.#current === undefined || this.#stale) return error;
      this.#longFrom = this.#current.size + SLACK;
    }
    return this.#append(() => {});
  }

  /**
   * Records which events are about to be put, the first of them at the queue's next position; see the third invariant.
   *
   * @param lasting whether to wait for the sync
   * @returns the error if it failed. The elements may leave anyway; `save` must be called after that
   */
  leave(queue: QueueName, events: readonly Leaving[], lasting: boolean): unknown {
    if (!this.#open) return undefined;
    const { next } = this.#positions(queue);
    const error =
      (this.#current === undefined || this.#stale ? this.#rewrite() : undefined) ??
      this.#append((writer) => writer.leave(queue, next, events), ENDED_BYTES * events.length) ??
      (lasting ? this.#syncNow() : undefined);
    if (error !== undefined) this.#stale = true;
    this.#awaited[queue] = Math.max(this.#awaited[queue] ?? 0, next + events.length);
    return error;
  }

  /** Records that an event of the last leave did not get its expected position. */
  ended(index: number, queue: QueueName): void {
    const { next } = this.#positions(queue);
    const awaited = this.#awaited[queue] ?? 0;
    this.#awaited[queue] = Math.max(awaited, next);
    if (!this.#open || this.#stale) return;
    const error = this.#write(this.#compose((writer) => writer.ended(index, next)));
    if (error !== undefined) this.#stale = true;
  }

  /** Syncs what was written before the call, then deletes the replaced files. */
  async sync(): Promise<void> {
    try {
      await this.#folder.sync({
        keepDead: this.#current === undefined,
        isWritten: (file) => file === this.#current,
        failed: () => this.#giveUp(),
      });
    } catch (error) {
      if (!(error instanceof NotWritten)) throw error;
    }
  }

  close(): void {
    this.#folder.close();
    this.#current = undefined;
    this.#open = false;
  }

  #isLong(): boolean {
    const size = this.#current?.size ?? 0;
    let content = SLACK;
    for (const { bytes, elements } of this.#windows())
      content += TIMES * (bytes + elements.size * ELEMENT_OVERHEAD + WINDOW_OVERHEAD);
    if (size <= Math.max(content, this.#longFrom)) return false;
    return QUEUES.every((queue) => (this.#awaited[queue] ?? 0) <= this.#positions(queue).lasting);
  }

  /**
   * Appends what has changed, and what `more` adds; rewrites the log first if that would exceed its share of the disk.
   *
   * @param later bytes that `ended` may need afterwards
   */
  #append(more: (writer: LogWriter) => void, later = 0): unknown {
    const added = this.#compose(more);
    const used = this.#folder.bytesIn('disk');
    if (used + this.#writer.bytes.length + later <= this.#maxBytes() * (1 - FREE_FOR_REWRITE))
      return this.#write(added);
    for (const one of added) one.number = -1;
    this.#folder.freeAll();
    const error = this.#rewrite();
    if (error !== undefined) return error;
    this.#folder.freeAll();
    return this.#write(this.#compose(more));
  }

  /** Appends what is composed. @param added the windows and elements that it contains for the first time */
  #write(added: readonly (Window | Element)[]): unknown {
    const current = this.#current;
    if (current === undefined) return new Error('The window log has no open file.');
    const writer = this.#writer;
    try {
      this.#folder.append(current, writer.bytes);
    } catch (error) {
      // If it cannot be undone, its records are valid, but nothing may be appended after a partial one.
      if (!this.#folder.undo(current)) this.#giveUp();
      for (const one of added) one.number = -1;
      return error ?? new Error('unknown');
    }
    this.#nextWindow += added.filter((one) => 'kind' in one).length;
    this.#nextElement += added.filter((one) => 'payload' in one).length;
    this.#allWritten();
    return undefined;
  }

  /** Composes what has changed, and what `more` adds. @returns the windows and elements that got a number */
  #compose(more: (writer: LogWriter) => void): (Window | Element)[] {
    const writer = this.#writer;
    writer.clear();
    const added: (Window | Element)[] = [];
    let nextWindow = this.#nextWindow;
    let nextElement = this.#nextElement;
    for (const window of this.#windows()) {
      if (window.changed.length === 0) continue;
      if (window.number < 0) {
        window.number = nextWindow++;
        added.push(window);
        writer.open(window, this.#closesAt(window));
      }
      const known: Element[] = [];
      for (const element of window.changed) {
        if (!element.changed) continue;
        if (element.number >= 0) known.push(element);
        else {
          element.number = nextElement++;
          added.push(element);
          writer.element(element.number, window.number, element);
        }
      }
      writer.counts(known);
    }
    more(writer);
    return added;
  }

  #allWritten(): void {
    for (const window of this.#windows()) {
      for (const element of window.changed) element.changed = false;
      window.changed = [];
    }
  }

  /** Writes all open windows to a new file. */
  #rewrite(): unknown {
    const error = this.#tryToRewrite();
    if (error === undefined || !this.#stale || !isFull(error)) return error;
    // The file on disk is outdated, and uses the space that its replacement needs.
    this.#current = undefined;
    if (!this.#folder.clear()) return error;
    this.#stale = false;
    this.#awaited = {};
    return this.#tryToRewrite();
  }

  #tryToRewrite(): unknown {
    const windows = [...this.#windows()].filter(({ elements }) => elements.size > 0);
    let file: LogFile | undefined;
    const writer = this.#writer;
    const numbered: Element[] = [];
    const writeTo = (target: LogFile): void => {
      this.#folder.append(target, writer.bytes);
      writer.clear();
    };
    writer.clear();
    try {
      this.#files.makeFolder(this.#path); // it may have been removed
      file = this.#folder.create();
      writer.raw(LOG_HEAD);
      for (const [index, window] of windows.entries()) {
        writer.open(window, this.#closesAt(window), index);
        for (const element of window.elements) {
          writer.element(numbered.length, index, element);
          numbered.push(element);
          if (writer.bytes.length >= PIECE) writeTo(file);
        }
      }
      writer.complete();
      writeTo(file);
    } catch (error) {
      if (file !== undefined) this.#folder.undo(file);
      return error ?? new Error('unknown');
    }
    this.#giveUp();
    this.#folder.add(file);
    this.#folder.removeDead();
    this.#current = file;
    for (const window of this.#windows()) window.number = -1;
    for (const [index, window] of windows.entries()) window.number = index;
    for (const [index, element] of numbered.entries()) element.number = index;
    this.#nextWindow = windows.length;
    this.#nextElement = numbered.length;
    this.#longFrom = 0;
    this.#stale = false;
    this.#awaited = {};
    this.#allWritten();
    if (this.#folder.deadFiles > MAX_OLD_FILES) this.#folder.freeAll();
    return undefined;
  }

  #closesAt(window: Window): number {
    return this.#clock.now().getTime() + window.closesAt - this.#clock.monotonic();
  }

  #syncNow(): unknown {
    try {
      this.#folder.syncNow();
      return undefined;
    } catch (error) {
      this.#giveUp();
      return error ?? new Error('unknown');
    }
  }

  /** Closes the current file. It is deleted once another one has replaced it. */
  #giveUp(): void {
    if (this.#current !== undefined) closeFile(this.#current);
    this.#current = undefined;
  }
}
