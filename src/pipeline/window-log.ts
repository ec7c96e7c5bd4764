/*
 * The window log: what has been counted in the open aggregation windows, on disk.
 *
 * A log is a folder with one file, which is only written at its end. It says which windows are open, which elements they
 * have, and after that, again and again, the counts that have changed. When it has become several times as long as what
 * it has to say, it is written anew in short as a second file, and the first one is deleted.
 *
 *   head        'VaktAgg', then the format version, one byte
 *   records     as framing.ts says; the body is a type, one byte, and
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
import type { Clock } from '../base/clock.ts';
import { days } from '../base/duration.ts';
import { errnoOf } from '../base/errors.ts';
import { type Payload, QUEUES, type QueueName } from '../contract/event.ts';
import type { Element } from './element-table.ts';
import { FRAME, FrameWriter, isHeadedBy, readFrames } from './framing.ts';
import { isFull } from './store.ts';
import type { AppendFile, StoreFiles } from './store-files.ts';
import type { Kind, Window } from './window.ts';

const FORMAT_VERSION = 1;
export const LOG_HEAD = Buffer.from(`VaktAgg${String.fromCharCode(FORMAT_VERSION)}`, 'latin1');

const OPEN = 1;
const ELEMENT = 2;
const COUNTS = 3;
const LEAVE = 4;
const ENDED = 5;
const COMPLETE = 6;

/** What a number may take. */
const LONGEST_NUMBER = 8;
const ID = 16;

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

/** More than all tables and one that is leaving may hold: what goes beyond comes from no agent. */
const MOST_BYTES_READ = 4 * 1024 * 1024;
const MOST_WINDOWS_READ = 100;
const MOST_ELEMENTS_READ = 2 ** 24;
/** Times further from 1970 than this, in milliseconds, are none: the year 73326. */
export const LATEST = 2 ** 51;

const NAME = /^([0-9a-f]{16})\.log$/;

/** An event that is about to be put into its queue. */
export interface Leaving {
  readonly id: string;
  readonly window: Window;
  readonly elements: readonly Element[];
}

/** A window as it was found on disk. */
export interface FoundWindow {
  readonly kind: Kind;
  readonly queue: QueueName;
  readonly interval: number;
  /** Milliseconds since the epoch. */
  readonly closesAt: number;
  readonly elements: Element[];
  /** Events that were about to be put and are not in the queue; their elements are among the above. */
  readonly leaving: { readonly id: string; readonly elements: readonly Element[] }[];
}

export interface Found {
  readonly windows: readonly FoundWindow[];
  /** Occurrences whose element was damaged. */
  readonly lost: number;
  /** Files of unknown kind or format version. They are never touched. */
  readonly keptAside: readonly string[];
}

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

/** Composes records. */
class LogWriter extends FrameWriter {
  #at = 0;

  open({ kind, queue, interval, number }: Window, closesAt: number, window = number): void {
    const { name, type, version } = kind;
    const json = JSON.stringify({ window, name, type, version, queue, interval, closesAt: Math.round(closesAt) });
    const start = this.#begin(OPEN, 3 * json.length);
    this.#at += this.buffer.write(json, this.#at);
    this.end(this.#at - start);
  }

  element(number: number, window: number, element: Element): void {
    const json = JSON.stringify(element.payload);
    const start = this.#begin(ELEMENT, 5 * LONGEST_NUMBER + Buffer.byteLength(json));
    this.#number(number);
    this.#number(window);
    this.#counts(element);
    this.#at += this.buffer.write(json, this.#at);
    this.end(this.#at - start);
  }

  counts(elements: readonly Element[]): void {
    if (elements.length === 0) return;
    const start = this.#begin(COUNTS, 4 * LONGEST_NUMBER * elements.length);
    for (const element of elements) {
      this.#number(element.number);
      this.#counts(element);
    }
    this.end(this.#at - start);
  }

  leave(queue: QueueName, next: number, events: readonly Leaving[]): void {
    const numbers = events.reduce((all, { elements }) => all + 2 + elements.length, 2);
    const start = this.#begin(LEAVE, numbers * LONGEST_NUMBER + events.length * ID);
    this.#number(QUEUES.indexOf(queue));
    this.#number(next);
    for (const { id, window, elements } of events) {
      this.#at += this.buffer.write(id.replaceAll('-', ''), this.#at, 'hex');
      this.#number(window.number);
      this.#number(elements.length);
      for (const { number } of elements) this.#number(number);
    }
    this.end(this.#at - start);
  }

  ended(index: number, next: number): void {
    const start = this.#begin(ENDED, 2 * LONGEST_NUMBER);
    this.#number(index);
    this.#number(next);
    this.end(this.#at - start);
  }

  complete(): void {
    const start = this.#begin(COMPLETE, 0);
    this.end(this.#at - start);
  }

  #begin(type: number, most: number): number {
    const start = this.begin(1 + most);
    this.buffer[start] = type;
    this.#at = start + 1;
    return start;
  }

  #counts({ hits, first, last }: Element): void {
    this.#number(hits);
    this.#signed(first);
    this.#number(last - first);
  }

  #signed(value: number): void {
    this.#number(value < 0 ? -2 * value - 1 : 2 * value);
  }

  #number(value: number): void {
    let rest = value;
    while (rest >= 0x80) {
      this.buffer[this.#at++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.buffer[this.#at++] = rest;
  }
}

/** Takes a body apart. @throws RangeError when it ends too early or says what cannot be */
class LogReader {
  readonly #body: Buffer;
  #at = 1; // behind the type

  constructor(body: Buffer) {
    this.#body = body;
  }

  get more(): boolean {
    return this.#at < this.#body.length;
  }

  number(): number {
    let value = 0;
    for (let unit = 1; ; unit *= 0x80) {
      const byte = this.#body[this.#at++];
      if (byte === undefined) throw new RangeError('The record ends within a number.');
      value += (byte % 0x80) * unit;
      if (!Number.isSafeInteger(value)) throw new RangeError('A number is too large.');
      if (byte < 0x80) return value;
    }
  }

  signed(): number {
    const value = this.number();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }

  counts(): Pick<Element, 'hits' | 'first' | 'last'> {
    const hits = this.number();
    const first = this.signed();
    const last = first + this.number();
    if (hits < 1 || !(first > -LATEST && last < LATEST)) throw new RangeError('Counts cannot be.');
    return { hits, first, last };
  }

  id(): string {
    const hex = this.#body.toString('hex', this.#at, this.#at + ID);
    if (hex.length !== 2 * ID) throw new RangeError('The record ends within an id.');
    this.#at += ID;
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
  }

  text(): string {
    return this.#body.toString('utf8', this.#at);
  }
}

type ReadLog = Found & { paths: string[]; nextFile: number };

/** @throws what the file system says when the folder or a file cannot be read at all; damage (EIO) is skipped */
function readLog(files: StoreFiles, folder: string, next: (queue: QueueName) => number): ReadLog {
  const ours: { number: number; path: string; size: number }[] = [];
  const keptAside: string[] = [];
  let nextFile = 0;
  for (const { name, size } of files.list(folder)) {
    const number = Number.parseInt(NAME.exec(name)?.[1] ?? '', 16);
    if (Number.isSafeInteger(number)) nextFile = Math.max(nextFile, number + 1);
    const path = `${folder}/${name}`;
    if (Number.isSafeInteger(number) && isHeadedBy(LOG_HEAD, files, path)) ours.push({ number, path, size });
    else keptAside.push(name);
  }
  ours.sort((a, b) => b.number - a.number);
  const paths = ours.map(({ path }) => path);
  let best: Reading | undefined;
  for (const { path, size } of ours) {
    const reading = new Reading(files, path, size, next);
    if (reading.isComplete || best === undefined) best = reading;
    if (reading.isComplete) break;
  }
  const { windows, lost } = best?.result() ?? { windows: [], lost: 0 };
  return { windows, lost, keptAside: keptAside.sort(), paths, nextFile };
}

interface Leave {
  readonly queue: QueueName;
  readonly next: number;
  readonly events: { readonly id: string; readonly window: number; readonly elements: readonly number[] }[];
  /** The queue's next position after an event, where it was not the one to be expected. */
  readonly ended: Map<number, number>;
}

/** What the records of one file come to. */
class Reading {
  isComplete = false;
  readonly #windows = new Map<number, FoundWindow>();
  readonly #elements = new Map<number, { element: Element; window: number }>();
  /** Elements whose counts are known, but not what they are. */
  readonly #unknown = new Map<number, number>();
  readonly #next: (queue: QueueName) => number;
  readonly #left = new Set<number>();
  /** The last one, which an `ended` may still correct. */
  #leave: Leave | undefined;
  #nextElement = 0;
  /** Of the payloads of elements that have not left. */
  #bytes = 0;

  /** @param next the next position of a queue */
  constructor(files: StoreFiles, path: string, size: number, next: (queue: QueueName) => number) {
    this.#next = next;
    try {
      for (const { body } of readFrames(files, path, LOG_HEAD.length, size)) {
        try {
          this.#take(body[0], new LogReader(body));
        } catch {
          // A record that says what cannot be is as good as none; its neighbours are read all the same.
        }
      }
    } catch (error) {
      if (errnoOf(error) !== 'EIO') throw error;
    }
  }

  /** Decides about the events of the last leave, by the queue's next position. */
  #decide(): void {
    const leave = this.#leave;
    this.#leave = undefined;
    if (leave === undefined) return;
    let position = leave.next;
    for (const [index, { id, window, elements }] of leave.events.entries()) {
      const ended = leave.ended.get(index);
      // Corrected: it was dropped when the position has stayed, and is counted by the queue. Else it has the last one at
      // most: the first may have been burnt.
      const isIn = ended === position || (ended ?? position + 1) <= this.#next(leave.queue);
      position = ended ?? position + 1;
      const known = elements.flatMap((number) => this.#elements.get(number) ?? []);
      if (isIn) for (const number of elements) this.#forget(number);
      else if (known.length > 0)
        this.#windows.get(window)?.leaving.push({ id, elements: known.map(({ element }) => element) });
    }
  }

  #forget(number: number): void {
    this.#left.add(number);
    this.#bytes -= this.#elements.get(number)?.element.bytes ?? 0;
    this.#elements.delete(number);
  }

  #forgetEmptyWindows(): void {
    const inUse = new Set([...this.#elements.values()].map(({ window }) => window));
    for (const number of this.#windows.keys()) if (!inUse.has(number)) this.#windows.delete(number);
  }

  result(): Pick<Found, 'windows' | 'lost'> {
    this.#decide();
    let lost = 0;
    for (let number = 0; number < this.#nextElement; number += 1) {
      if (this.#left.has(number)) continue;
      const { element, window = -1 } = this.#elements.get(number) ?? {};
      const found = this.#windows.get(window);
      if (element !== undefined && found !== undefined) found.elements.push(element);
      else lost += element?.hits ?? this.#unknown.get(number) ?? 1; // nothing is known of it but that it was there
    }
    const windows = [...this.#windows.values()].filter(({ elements }) => elements.length > 0);
    return { windows, lost };
  }

  #take(type: number | undefined, record: LogReader): void {
    if (type === OPEN) this.#open(record.text());
    else if (type === ELEMENT) this.#element(record);
    else if (type === COUNTS) while (record.more) this.#counts(record);
    else if (type === LEAVE) this.#leaving(record);
    else if (type === ENDED) this.#leave?.ended.set(record.number(), record.number());
    else if (type === COMPLETE) this.isComplete = true;
  }

  #open(json: string): void {
    const { window, name, type, version, queue, interval, closesAt } = JSON.parse(json) as Record<string, unknown>;
    if (this.#windows.size >= MOST_WINDOWS_READ) this.#forgetEmptyWindows();
    if (typeof window !== 'number' || this.#windows.size >= MOST_WINDOWS_READ) return;
    if (typeof name !== 'string' || typeof version !== 'string') return;
    if (type !== 'Security' && type !== 'Operational' && type !== 'Diagnostic') return;
    if (queue !== 'High' && queue !== 'Low') return;
    if (typeof interval !== 'number' || !(interval > 0 && interval <= days(366))) return;
    if (typeof closesAt !== 'number' || !(Math.abs(closesAt) <= 2 * LATEST)) return;
    const kind: Kind = { name, category: 'Triggered', type, version };
    this.#windows.set(window, { kind, queue, interval, closesAt, elements: [], leaving: [] });
  }

  #element(record: LogReader): void {
    const number = this.#numberOf(record);
    const window = record.number();
    const counts = record.counts();
    this.#unknown.set(number, counts.hits);
    const json = record.text();
    const bytes = Buffer.byteLength(json);
    if (this.#bytes + bytes > MOST_BYTES_READ) return;
    const payload: unknown = JSON.parse(json);
    if (typeof payload !== 'object' || payload === null || Array.isArray(payload)) return;
    const { ExtraDetails: details } = payload as Payload;
    if (details !== undefined && (typeof details !== 'object' || details === null)) return;
    const element = { payload: payload as Payload, bytes, ...counts };
    this.#bytes += bytes - (this.#elements.get(number)?.element.bytes ?? 0);
    this.#unknown.delete(number);
    this.#elements.set(number, { window, element: { ...element, number: -1, changed: false } });
  }

  #numberOf(record: LogReader): number {
    const number = record.number();
    if (number >= MOST_ELEMENTS_READ) throw new RangeError('There cannot be so many elements.');
    this.#nextElement = Math.max(this.#nextElement, number + 1);
    return number;
  }

  #counts(record: LogReader): void {
    const number = this.#numberOf(record);
    const counts = record.counts();
    const known = this.#elements.get(number)?.element;
    if (known === undefined) this.#unknown.set(number, counts.hits);
    else Object.assign(known, counts);
  }

  #leaving(record: LogReader): void {
    const queue = QUEUES[record.number()];
    const next = record.number();
    const events: Leave['events'] = [];
    while (record.more) {
      const id = record.id();
      const window = record.number();
      const elements: number[] = [];
      for (let left = record.number(); left > 0; left -= 1) elements.push(record.number());
      events.push({ id, window, elements });
    }
    this.#decide();
    if (queue !== undefined) this.#leave = { queue, next, events, ended: new Map() };
  }
}
