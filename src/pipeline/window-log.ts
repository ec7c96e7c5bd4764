/*
 * The window log: what has been counted in the open aggregation windows, on disk.
 *
 * A log is a folder with one file, which is only written at its end. It says which windows are open, which elements they
 * have, and after that, again and again, the counts that have changed. When it has become several times as long as what
 * it has to say, it is written anew in short as a second file, and the first one is deleted.
 *
 *   head        'VaktAgg', then the format version, one byte
 *   records     as framing.ts says; the body (window-records.ts) is a type, one byte, and
 *     1 open        JSON { window, name, type, version, queue, interval, closesAt: milliseconds since the epoch }
 *     2 element     n element │ n window │ n hits │ t first │ n last − first │ payload as JSON
 *     3 counts      for each element that changed: n element │ n hits │ t first │ n last − first
 *     4 leave       n queue │ n next │ for each event: 16 bytes id │ n window │ n how many │ n element …
 *     5 ended       n which of the events of the last leave │ n next
 *     6 complete    nothing
 *   n is an unsigned number, seven bits a byte, lowest first, the eighth bit set on all but the last byte (LEB128);
 *   t is a signed one, as n: 2t, or −2t − 1 when negative.
 *
 * Invariants
 *
 *   1. Counts are absolute, never differences. So a record that is damaged or missing is made good by the next one.
 *   2. The log is the last file with a `complete`, which ends what a file begins with: all there was when it was made.
 *      An older file is deleted when the newer one outlasts a power cut. If no file is complete, it is the last.
 *   3. An element is in the log until it has left for its queue, and in the queue from then on; never in both or neither.
 *      What decides is the queue's next position. A `leave` says which events are going to be put, of which elements, and
 *      which position the first of them will have. If its position has been given away, an event is in the queue, and its
 *      elements have left; if not, it isn't, and they are still here. `ended` corrects the positions of the events behind
 *      one that was dropped (and counted by the queue), or that another event got in between; and of one whose position
 *      was burnt, see store.ts.
 *   4. A `leave` is synced before its events are put, those of a table that overflows at most once a second; and no file
 *      that has one is given up until the queue has synced its events, unless the file has grown to 16 MiB by then. So
 *      events that a queue has only in memory, since its disk refuses, come back from here after a kill.
 *
 * What a crash at each point leaves. A *kill* ends the process, a *power cut* also takes what was not synced.
 *
 *   save        One write for all that has changed since the last one. Killed in it: a torn tail; the torn record is
 *               skipped, and the counts are those of the write before. Power cut: those of the last second that was
 *               synced.
 *   leave       One write, a sync, then the events are put one by one. Killed or cut before an event is put: it is put,
 *               with the same id, when the log is opened next. After it: it isn't. Cut while the queue has not synced it:
 *               it is put again, with the same id. Of a table that overflows several times within a second, a power cut
 *               can take the leave and keep the events: they are repeated.
 *   rewrite     Killed or cut in it: the new file isn't complete, and the old one counts.
 *   open        Only reads. What it has found is then written anew, and events that have yet to be put leave anew.
 *               Killed or cut in it: the next one comes to the same result.
 *
 * When a write fails, what it left is truncated away, and what it would have said is said by the next one. When a leave
 * cannot be written, its elements leave all the same: what the disk says is then too much, so it is written anew as soon
 * as possible, at the expense of the old file when the disk is full. Killed before that can be done, they are repeated.
 */
import { NotWritten } from '../base/background-writer.ts';
import type { Clock } from '../base/clock.ts';
import { QUEUES, type QueueName } from '../contract/event.ts';
import type { Element } from './element-table.ts';
import { FRAME } from './framing.ts';
import { isFull } from './store.ts';
import type { AppendFile, StoreFiles } from './store-files.ts';
import type { Window } from './window.ts';
import { type Leaving, LOG_HEAD, LogWriter } from './window-records.ts';
import { type Found, readLog } from './window-recovery.ts';

/** A file may be so many times as long as what it has to say, and this many bytes beyond, before it is written anew. */
const TIMES = 3;
const SLACK = 16 * 1024;
/** Beyond this it is written anew although a queue has not synced yet what has left. */
const LONGEST = 16 * 1024 * 1024;
/** What an element takes besides its payload, and a window, in round figures. */
const ELEMENT_OVERHEAD = FRAME + 24;
const WINDOW_OVERHEAD = 256;
/** Files that wait to be deleted until the one that replaces them is synced. */
const MOST_OLD = 4;
/** A rewrite goes out in pieces of this. */
const PIECE = 64 * 1024;

/** Where a queue stands; see EventQueues.positions. */
export type PositionsOf = (queue: QueueName) => { readonly next: number; readonly lasting: number };

/** The counts on disk; see above. Not a writer for several processes. */
export class WindowLog {
  readonly #files: StoreFiles;
  readonly #folder: string;
  readonly #windows: () => Iterable<Window>;
  readonly #positions: PositionsOf;
  readonly #clock: Clock;
  readonly #writer = new LogWriter();
  #open = false;
  /** The queues' next positions, as an earlier run has left them. */
  readonly #nextAtStart: Partial<Record<QueueName, number>> = {};
  #nextFile = 0;
  #current: { readonly path: string; readonly file: AppendFile; size: number } | undefined;
  /** Where to try again to write anew what could not be. */
  #longFrom = 0;
  #nextWindow = 0;
  #nextElement = 0;
  /** Files that the current one has replaced. */
  #old: string[] = [];
  /** Elements have left, and the files don't know. */
  #stale = false;
  /** Up to where the queues have to be synced before the current file may go. */
  #awaited: Partial<Record<QueueName, number>> = {};
  #unsynced = false;
  #folderChanged = false;

  constructor(options: {
    files: StoreFiles;
    folder: string;
    windows: () => Iterable<Window>;
    positions: PositionsOf;
    clock: Clock;
  }) {
    this.#files = options.files;
    this.#folder = options.folder;
    this.#windows = options.windows;
    this.#positions = options.positions;
    this.#clock = options.clock;
  }

  /**
   * Reads what an earlier run has left. The queues must be as that run has left them when this is called first.
   *
   * @returns also the error when the disk cannot be used now; then nothing is written until another call succeeds
   */
  open(): { found: Found; error?: unknown } {
    for (const queue of QUEUES) this.#nextAtStart[queue] ??= this.#positions(queue).next;
    try {
      this.#files.makeFolder(this.#folder);
      const { paths, nextFile, ...found } = readLog(
        this.#files,
        this.#folder,
        (queue) => this.#nextAtStart[queue] ?? 0,
      );
      this.#old = paths;
      this.#nextFile = nextFile;
      this.#open = true;
      return { found };
    } catch (error) {
      return { found: { windows: [], lost: 0, keptAside: [] }, error };
    }
  }

  /** Whether there is something to write. */
  get owes(): boolean {
    if (!this.#open) return false;
    if (this.#stale) return true;
    const isNothingWritten = this.#current === undefined;
    if (isNothingWritten && this.#old.length > 0) return true; // they go when there is another one
    for (const { changed, elements } of this.#windows())
      if (changed.length > 0 || (isNothingWritten && elements.size > 0)) return true;
    return false;
  }

  get needsSync(): boolean {
    return this.#open && (this.#unsynced || this.#folderChanged);
  }

  /** Writes what has changed. @returns why it could not; then it is still to be written */
  save(): unknown {
    if (!this.owes) return undefined;
    if (this.#current === undefined || this.#stale || this.#isLong()) {
      const error = this.#rewrite();
      if (error === undefined || this.#current === undefined || this.#stale) return error;
      this.#longFrom = this.#current.size + SLACK;
    }
    return this.#append(() => {});
  }

  /**
   * Says which events are going to be put, the first of them at the queue's next position; see the third invariant.
   *
   * @param lasting whether to wait for the disk
   * @returns why it could not. The elements may leave all the same; `save` must be called when they have
   */
  leave(queue: QueueName, events: readonly Leaving[], lasting: boolean): unknown {
    if (!this.#open) return undefined;
    const { next } = this.#positions(queue);
    const error =
      (this.#current === undefined || this.#stale ? this.#rewrite() : undefined) ??
      this.#append((writer) => writer.leave(queue, next, events)) ??
      (lasting ? this.#syncNow() : undefined);
    if (error !== undefined) this.#stale = true;
    this.#awaited[queue] = Math.max(this.#awaited[queue] ?? 0, next + events.length);
    return error;
  }

  /** Says that one of the events of the last leave did not get the position it was to have. */
  ended(index: number, queue: QueueName): void {
    const { next } = this.#positions(queue);
    const awaited = this.#awaited[queue] ?? 0;
    this.#awaited[queue] = Math.max(awaited, next);
    if (!this.#open || this.#stale) return;
    if (this.#append((writer) => writer.ended(index, next)) !== undefined) this.#stale = true;
  }

  /** Makes what was written before the call outlast a power cut, and then deletes what was replaced. */
  async sync(): Promise<void> {
    const old = this.#old;
    const current = this.#current;
    this.#unsynced = false;
    try {
      await current?.file.sync();
      if (this.#folderChanged) {
        this.#folderChanged = false;
        await this.#files.sync(this.#folder);
      }
    } catch (error) {
      if (error instanceof NotWritten) {
        this.#unsynced = true;
        this.#folderChanged = true;
        return;
      }
      // The kernel may have thrown the pages away and called them clean: only another file would prove anything.
      this.#folderChanged = true;
      this.#giveUp();
      throw error;
    }
    if (current !== undefined && this.#current === current) this.#removeOld(old);
  }

  close(): void {
    this.#current?.file.close();
    this.#current = undefined;
    this.#open = false;
  }

  #isLong(): boolean {
    const size = this.#current?.size ?? 0;
    let content = SLACK;
    for (const { bytes, elements } of this.#windows())
      content += TIMES * (bytes + elements.size * ELEMENT_OVERHEAD + WINDOW_OVERHEAD);
    if (size <= Math.max(content, this.#longFrom)) return false;
    return size > LONGEST || QUEUES.every((queue) => (this.#awaited[queue] ?? 0) <= this.#positions(queue).lasting);
  }

  /** Writes what has changed, and what `more` adds, at the end of the file. */
  #append(more: (writer: LogWriter) => void): unknown {
    const current = this.#current;
    if (current === undefined) return new Error('There is no file to write to.');
    const writer = this.#writer;
    writer.clear();
    const added = this.#composeChanges();
    more(writer);
    try {
      current.file.append(writer.bytes);
    } catch (error) {
      this.#takeBack(current);
      for (const one of added) one.number = -1;
      return error ?? new Error('unknown');
    }
    current.size += writer.bytes.length;
    this.#unsynced = true;
    this.#nextWindow += added.filter((one) => 'kind' in one).length;
    this.#nextElement += added.filter((one) => 'payload' in one).length;
    this.#allWritten();
    return undefined;
  }

  /** @returns what has got a number by it */
  #composeChanges(): (Window | Element)[] {
    const writer = this.#writer;
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
    return added;
  }

  #allWritten(): void {
    for (const window of this.#windows()) {
      for (const element of window.changed) element.changed = false;
      window.changed = [];
    }
  }

  /** Begins a new file with all there is. */
  #rewrite(): unknown {
    const error = this.#tryToRewrite();
    if (error === undefined || !this.#stale || !isFull(error)) return error;
    // What is on disk is not true any more, and takes the room that the truth needs.
    this.#giveUp();
    this.#removeOld(this.#old);
    if (this.#old.length > 0) return error;
    this.#stale = false;
    this.#awaited = {};
    return this.#tryToRewrite();
  }

  #tryToRewrite(): unknown {
    const windows = [...this.#windows()].filter(({ elements }) => elements.size > 0);
    const path = `${this.#folder}/${(this.#nextFile++).toString(16).padStart(16, '0')}.log`;
    let file: AppendFile | undefined;
    let size = 0;
    const writer = this.#writer;
    const numbered: Element[] = [];
    const write = (): void => {
      file?.append(writer.bytes);
      size += writer.bytes.length;
      writer.clear();
    };
    writer.clear();
    try {
      this.#files.makeFolder(this.#folder); // it may have been removed
      file = this.#files.create(path);
      this.#folderChanged = true;
      writer.raw(LOG_HEAD);
      for (const [index, window] of windows.entries()) {
        writer.open(window, this.#closesAt(window), index);
        for (const element of window.elements) {
          writer.element(numbered.length, index, element);
          numbered.push(element);
          if (writer.bytes.length >= PIECE) write();
        }
      }
      writer.complete();
      write();
    } catch (error) {
      file?.close();
      if (file !== undefined) this.#remove(path);
      return error ?? new Error('unknown');
    }
    this.#giveUp();
    this.#current = { path, file, size };
    this.#unsynced = true;
    for (const window of this.#windows()) window.number = -1;
    for (const [index, window] of windows.entries()) window.number = index;
    for (const [index, element] of numbered.entries()) element.number = index;
    this.#nextWindow = windows.length;
    this.#nextElement = numbered.length;
    this.#longFrom = 0;
    this.#stale = false;
    this.#awaited = {};
    this.#allWritten();
    if (this.#old.length > MOST_OLD) this.#removeAllOld();
    return undefined;
  }

  /** A disk that never syncs must not be filled with files: nor does it promise that the old ones are there. */
  #removeAllOld(): void {
    try {
      if (this.#current !== undefined) this.#files.syncNow(this.#current.path);
      this.#files.syncNow(this.#folder);
    } catch {
      // Then the next sync fails, too, and says so.
    }
    this.#removeOld(this.#old);
  }

  #closesAt(window: Window): number {
    return this.#clock.now().getTime() + window.closesAt - this.#clock.monotonic();
  }

  #syncNow(): unknown {
    try {
      if (this.#current !== undefined) this.#files.syncNow(this.#current.path);
      if (this.#folderChanged) this.#files.syncNow(this.#folder);
      this.#folderChanged = false;
      return undefined;
    } catch (error) {
      this.#giveUp();
      return error ?? new Error('unknown');
    }
  }

  /** Lets go of the current file, which stays until there is another one. */
  #giveUp(): void {
    if (this.#current === undefined) return;
    this.#current.file.close();
    this.#old = [...this.#old, this.#current.path];
    this.#current = undefined;
  }

  #takeBack({ file, size }: { file: AppendFile; size: number }): void {
    try {
      file.truncate(size);
    } catch {
      this.#giveUp(); // what stays is true, but nothing can be written behind it
    }
  }

  #removeOld(paths: readonly string[]): void {
    const removed = new Set(paths.filter((path) => this.#remove(path)));
    this.#old = this.#old.filter((path) => !removed.has(path));
  }

  #remove(path: string): boolean {
    try {
      this.#files.remove(path);
      this.#folderChanged = true;
      return true;
    } catch {
      return false;
    }
  }
}
