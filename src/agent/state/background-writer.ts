import { statfsSync } from 'node:fs';
import type { Clock } from '../../core/base/clock.ts';
import { type Duration, LONG_AGO, milliseconds, seconds } from '../../core/base/duration.ts';
import { errnoOf } from '../../core/base/errors.ts';
import { Lane } from '../../core/base/lane.ts';
import { Alarm } from '../../core/base/waiting.ts';
import { callAll } from './notifier.ts';
import { UnsavedFiles } from './unsaved-files.ts';
import type { Change, WriteAhead } from './write-ahead.ts';

/** Delay before a failed operation is retried. */
const TRY_AGAIN = seconds(1);
/** An operation that takes longer indicates a disk that hangs. */
const SLOW = seconds(5);
/** Bytes that must be free besides what waits, or the disk still counts as full. */
const SLACK = 16 * 1024;

/** One change on disk. It is retried until it succeeds, unless `shouldGiveUp` ends that. */
export interface Operation {
  /** Makes the change, on another thread. May be called again after it has failed. */
  run(): Promise<void>;
  /** Bytes that it holds in memory until it is done. */
  readonly bytes: number;
  /** The file that it changes. */
  readonly path?: string;
  /** It frees disk space, and is done out of order when the disk is full. */
  readonly frees?: boolean;
  /** Identifies operations for `cancel`. */
  readonly owner?: object;
  /** Whether to skip it after this failure. */
  shouldGiveUp?(error: unknown, tries: number): boolean;
}

/** Attempts of a change whose error may concern its own file only, see {@link mayConcernOneFile}: half a minute. */
export const MAX_TRIES = 30;

/** Whether others can perhaps be changed in spite of an error. */
export const mayConcernOneFile = (error: unknown): boolean =>
  !['ENOSPC', 'EDQUOT', 'EROFS', 'EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN'].includes(errnoOf(error) ?? '');

/** A small file that records progress, such as how far a log has been read. */
export interface Note {
  readonly bytes: number;
  /** Written before others of the same batch. */
  readonly writeFirst?: boolean;
  /** What it changes, so that it can survive a kill while it waits. Without it, waiting notes are written at once. */
  readonly change?: Change;
  write(): Promise<void>;
}

/** The disk has refused a change, so that what was asked for isn't on disk. Changes are retried. */
export class NotWritten extends Error {
  override readonly name = 'NotWritten';
}

/**
 * Changes files in the background, one change at a time, in the order in which they were added. So kill -9 loses what
 * is still in memory here, and no change is on disk without all earlier ones.
 *
 * A change that fails blocks the later ones and is retried. When the disk is full, changes that free space go first.
 *
 * Uses one libuv thread for changes, and one for syncs that no change waits for.
 */
export class BackgroundWriter {
  /** For syncs that no change waits for. */
  readonly syncs = new Lane();
  /** Whether notes must wait, since the data that they describe is only in memory. */
  holdsNotes: () => boolean = () => false;
  readonly #clock: Clock;
  readonly #maxBytes: number;
  readonly #alarm = new Alarm();
  readonly #listeners: ((error: unknown) => void)[] = [];
  readonly #waiters: { readonly until: number; readonly done: (error: unknown) => void }[] = [];
  #queue: Operation[] = [];
  /** The sequence number of each operation that waits. */
  readonly #numbers = new Map<Operation, number>();
  #asked = 0;
  #running: Operation | undefined;
  #runningSince: Duration | undefined;
  #isWorking = false;
  #bytes = 0;
  #isBehind = false;
  #lastError: unknown;
  /** Space was freed since the disk was last full, or an operation that frees space waits. */
  #spaceFreed = false;
  readonly #notesEvery: Duration;
  readonly #ahead: WriteAhead | undefined;
  /** Changes are made now, rather than held until they must be. */
  #isUrgent = false;
  #notesAt = LONG_AGO;
  /** Ends the wait until notes may be written again. */
  #release: AbortController | undefined;
  /** Those that are in no group yet. */
  #notes = new Map<string, Note>();
  /** Notes of groups in progress, until they are written. */
  #due = new Map<string, Note>();
  /** Number of consecutive failed notes, keyed by file. */
  readonly #failures = new Map<string, number>();
  readonly #unsaved: UnsavedFiles;
  #willNote = false;
  /**
   * At most two: newer notes are merged into the second only, or a steady flow of notes would delay the first forever.
   */
  #groups: NoteGroup[] = [];

  /**
   * @param maxBytes that may wait in memory
   * @param ahead keeps changes until they are made; then they are held until something waits for them, to spare the disk
   * @param notesEvery how long notes may be held, to spare the disk. Without `ahead`, a kill loses held notes
   * @param unsaved receives the files whose note could not be written
   */
  constructor({
    clock,
    maxBytes,
    ahead,
    notesEvery = milliseconds(0),
    unsaved = new UnsavedFiles(),
  }: {
    clock: Clock;
    maxBytes: number;
    ahead?: WriteAhead | undefined;
    notesEvery?: Duration;
    unsaved?: UnsavedFiles;
  }) {
    this.#clock = clock;
    this.#maxBytes = maxBytes;
    this.#ahead = ahead;
    this.#notesEvery = notesEvery;
    this.#unsaved = unsaved;
  }

  /** Called when a change fails, and when more bytes wait than `maxBytes`. */
  onFailure(listener: (error: unknown) => void): void {
    this.#listeners.push(listener);
  }

  /** Bytes that wait in memory. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Why changes wait in memory for long; `undefined` if they don't. A full disk doesn't count: `check` then refuses.
   */
  get blockedReason(): string | undefined {
    if (this.#lastError !== undefined) return isFull(this.#lastError) ? undefined : (this.#lastError as Error).message;
    const since = this.#runningSince;
    const waits = since === undefined ? 0 : this.#clock.monotonic() - since;
    return waits >= SLOW ? `the disk has not answered for ${Math.round(waits / 1_000)} s` : undefined;
  }

  /**
   * Call this before an operation that needs memory is added.
   *
   * @param folder that will be written to
   * @throws the reason why no more may be added
   */
  check(folder: string): void {
    if (this.#lastError !== undefined && !this.#mayHaveSpace(folder)) throw this.#lastError;
    if (!this.#isBehind) return;
    throw this.#tooSlow();
  }

  add(operation: Operation): void {
    this.#queue.push(operation);
    this.#asked += 1;
    this.#numbers.set(operation, this.#asked);
    this.addBytes(operation.bytes);
    if (operation.frees) {
      this.#spaceFreed = true;
      if (this.#lastError !== undefined) this.#alarm.ring();
    }
    this.#begin();
  }

  /** Must be called with each change before its operation is added, in order, so that it survives a kill until then. */
  record(change: Change): void {
    if (this.#ahead?.add(change) === false) this.#hurry();
  }

  /** The operation added last, unless it has begun: its content may be extended, see `addBytes`. */
  get last(): Operation | undefined {
    return this.#queue.at(-1) === this.#running ? undefined : this.#queue.at(-1);
  }

  /** Call this when a waiting operation holds more bytes than when it was added. */
  addBytes(bytes: number): void {
    this.#bytes += bytes;
    if (this.#isBehind || this.#bytes <= this.#maxBytes) return;
    this.#isBehind = true;
    // Deferred: a listener may log, a log line may become an event, and the caller is just adding one.
    const error = this.#tooSlow();
    queueMicrotask(() => callAll(this.#listeners, error));
  }

  #tooSlow(): Error {
    return Object.assign(new Error(`the disk is too slow; ${this.#bytes} bytes wait for it`), { code: 'EAGAIN' });
  }

  /** Removes operations that have not begun. */
  cancel(matches: (operation: Operation) => boolean): void {
    const cancelled = this.#queue.filter((one) => one !== this.#running && matches(one));
    if (cancelled.length === 0) return;
    for (const one of cancelled) this.#finished(one);
    if (this.#lastError !== undefined) this.#alarm.ring();
  }

  /**
   * Writes a note after all operations that are added before the event loop's next turn, so that it never claims more
   * than is on disk. If a file has several notes, only the last one is written. A failed note is retried with the next
   * one, and before it. Within `notesEvery` of the last notes it is held until then, with all others.
   */
  note(path: string, note: Note): void {
    this.#notes = merged(this.#notes, new Map([[path, note]]));
    this.#addNotesSoon();
  }

  /** Call this when `holdsNotes` may have become false. */
  releaseNotes(): void {
    if (!this.holdsNotes()) this.#addNotesSoon();
  }

  /** Resolves when all operations added so far are done. @throws NotWritten when the disk refuses one */
  async reached(): Promise<void> {
    if (this.#lastError !== undefined) throw new NotWritten('The disk refuses to be written.');
    this.#hurry();
    const until = this.#asked;
    if (this.#isReached(until)) return;
    const error = await new Promise<unknown>((done) => this.#waiters.push({ until, done }));
    if (error !== undefined) throw new NotWritten('The disk refuses to be written.', { cause: error });
  }

  /** The bytes that wait in memory, by file. */
  unwritten(): Map<string, number> {
    const unwritten = new Map<string, number>();
    const add = (path: string, bytes: number) => unwritten.set(path, (unwritten.get(path) ?? 0) + bytes);
    for (const operation of this.#queue) {
      const { path = 'others', bytes } = operation;
      const group = this.#groups.find((one) => one === operation);
      if (group !== undefined) {
        for (const [of, note] of group === this.#running ? this.#due : group.notes) add(of, note.bytes);
      } else if (bytes > 0) add(path, bytes);
    }
    if (!this.#groups.some((one) => one === this.#running)) for (const [of, note] of this.#due) add(of, note.bytes);
    return unwritten;
  }

  /** For shutdown: resolves when all is done, or after `limit`. @returns the bytes that are not on disk */
  async settle(limit: Duration): Promise<number> {
    this.#release?.abort();
    this.#addNotes();
    this.#hurry();
    const late = this.#clock.monotonic() + limit;
    while (this.#queue.length > 0 && this.#clock.monotonic() < late) await this.#clock.sleep(milliseconds(10));
    return this.#bytes;
  }

  #releaseAfter(wait: Duration): void {
    if (this.#release !== undefined) return;
    const release = new AbortController();
    this.#release = release;
    void this.#clock.sleep(wait, release.signal).then(() => {
      this.#release = undefined;
      if (!release.signal.aborted) this.releaseNotes();
    });
  }

  #addNotesSoon(): void {
    if (this.#willNote) return;
    this.#willNote = true;
    setImmediate(() => {
      this.#willNote = false;
      const wait = this.#notesAt + this.#notesEvery - this.#clock.monotonic();
      if (wait > 0 && this.#recordNotes()) this.#releaseAfter(milliseconds(wait));
      else this.#addNotes();
    });
  }

  /** @returns whether all notes that wait survive a kill */
  #recordNotes(): boolean {
    return this.holdsNotes() || this.#recordAll(this.#notes);
  }

  #recordAll(notes: ReadonlyMap<string, Note>): boolean {
    const ahead = this.#ahead;
    return ahead === undefined || [...notes.values()].every(({ change }) => change !== undefined && ahead.add(change));
  }

  #addNotes(): void {
    if (this.#notes.size === 0 && this.#due.size === 0) return;
    if (this.#notesEvery > 0) this.#notesAt = this.#clock.monotonic();
    const [, second] = this.#groups;
    if (second !== undefined) {
      this.#notes = merged(second.notes, this.#notes);
      this.cancel((one) => one === second);
      this.#groups.pop();
    }
    const notes = this.#notes;
    this.#notes = new Map();
    const group: NoteGroup = {
      notes,
      bytes: [...notes.values()].reduce((all, { bytes }) => all + bytes, 0),
      run: () => this.#writeNotes(group),
    };
    this.#groups.push(group);
    const isRecorded = this.#recordAll(notes);
    this.add(group);
    if (!isRecorded) this.#hurry();
  }

  /**
   * Writes its notes, after those that earlier groups could not write: a later note may depend on an earlier one. A note
   * whose file cannot be written for long no longer holds up the others.
   */
  async #writeNotes(group: NoteGroup): Promise<void> {
    this.#due = merged(this.#due, group.notes);
    const inOrder = [...this.#due].sort(
      ([, a], [, b]) => Number(b.writeFirst ?? false) - Number(a.writeFirst ?? false),
    );
    for (const [path, note] of inOrder) {
      if (this.holdsNotes()) break;
      const error = await note.write().catch((thrown: unknown) => thrown ?? new Error('unknown'));
      this.#unsaved.report(path, error);
      if (error === undefined) {
        this.#due.delete(path);
        this.#failures.delete(path);
        continue;
      }
      const failures = (this.#failures.get(path) ?? 0) + 1;
      this.#failures.set(path, failures);
      if (!mayConcernOneFile(error) || failures < MAX_TRIES) break;
    }
    this.#groups = this.#groups.filter((one) => one !== group);
  }

  /** Makes all changes that are held. */
  #hurry(): void {
    this.#isUrgent = this.#queue.length > 0;
    this.#begin();
  }

  #begin(): void {
    if (this.#isWorking || (this.#ahead !== undefined && !this.#isUrgent)) return;
    this.#isWorking = true;
    void this.#work();
  }

  /**
   * Asks statfs(2) whether a full disk has space again, which needs no disk access: the next retry would come too late.
   */
  #mayHaveSpace(folder: string): boolean {
    if (!isFull(this.#lastError)) return false;
    if (!this.#spaceFreed && errnoOf(this.#lastError) === 'ENOSPC' && freeSpace(folder) > this.#bytes + SLACK) {
      this.#spaceFreed = true;
      this.#alarm.ring();
    }
    return this.#spaceFreed;
  }

  async #work(): Promise<void> {
    for (let tries = 0, operation = this.#queue[0]; operation !== undefined; operation = this.#queue[0]) {
      const error = await this.#try(operation);
      tries = operation === this.#queue[0] ? tries + 1 : 0;
      if (error === undefined || operation.shouldGiveUp?.(error, tries)) {
        tries = 0;
        this.#lastError = undefined;
        this.#finished(operation);
      } else await this.#failed(error);
    }
    this.#lastError = undefined; // the operation that failed was cancelled
    this.#isWorking = false;
    this.#isUrgent = false;
    this.#ahead?.clear();
    this.#recordNotes();
  }

  async #try(operation: Operation): Promise<unknown> {
    this.#running = operation;
    this.#runningSince = this.#clock.monotonic();
    try {
      await operation.run();
      return undefined;
    } catch (error) {
      return error ?? new Error('unknown');
    } finally {
      this.#running = undefined;
      this.#runningSince = undefined;
    }
  }

  /** Waits before the next try, unless space was freed. */
  async #failed(error: unknown): Promise<void> {
    this.#spaceFreed = false;
    this.#lastError = error;
    callAll(this.#listeners, error);
    for (const { done } of this.#waiters.splice(0)) done(error);
    if (isFull(error) && (await this.#free())) return;
    await this.#alarm.sleep(this.#clock, TRY_AGAIN);
  }

  /** Runs operations that free space, out of order. @returns whether any succeeded */
  async #free(): Promise<boolean> {
    let freed = false;
    for (const operation of this.#queue.filter(({ frees }) => frees)) {
      const error = await this.#try(operation);
      if (error !== undefined && !operation.shouldGiveUp?.(error, 1)) continue;
      this.#finished(operation);
      freed ||= error === undefined;
    }
    return freed;
  }

  #finished(operation: Operation): void {
    this.#queue = this.#queue.filter((one) => one !== operation);
    this.#numbers.delete(operation);
    this.#bytes -= operation.bytes;
    if (this.#bytes <= this.#maxBytes / 2) this.#isBehind = false;
    for (let first = this.#waiters[0]; first !== undefined && this.#isReached(first.until); first = this.#waiters[0]) {
      this.#waiters.shift();
      first.done(undefined);
    }
  }

  #isReached(until: number): boolean {
    const first = this.#queue[0];
    return first === undefined || (this.#numbers.get(first) ?? 0) > until;
  }
}

interface NoteGroup extends Operation {
  readonly notes: ReadonlyMap<string, Note>;
}

/** One note for each file, in the order in which they came. */
const merged = (older: ReadonlyMap<string, Note>, newer: ReadonlyMap<string, Note>): Map<string, Note> =>
  new Map([...[...older].filter(([path]) => !newer.has(path)), ...newer]);

function freeSpace(folder: string): number {
  try {
    const { bavail, bsize, ffree, files } = statfsSync(folder);
    return files > 0 && ffree === 0 ? 0 : bavail * bsize;
  } catch {
    return 0;
  }
}

/** The disk, or this user's quota, is full. */
export const isFull = (error: unknown): boolean => errnoOf(error) === 'ENOSPC' || errnoOf(error) === 'EDQUOT';
