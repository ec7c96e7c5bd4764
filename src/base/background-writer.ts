import { statfsSync } from 'node:fs';
import { Alarm } from './alarm.ts';
import type { Clock } from './clock.ts';
import { type Duration, milliseconds, seconds } from './duration.ts';
import { errnoOf } from './errors.ts';
import { Lane } from './lane.ts';

/** How often what the disk has refused is tried again. */
const TRY_AGAIN = seconds(1);
/** An operation that takes longer is a sign of a disk that hangs. */
const SLOW = seconds(5);
/** A disk that has not even this much is full. */
const SLACK = 16 * 1024;

/** One change of the disk. It is tried until it succeeds, unless it says that this is in vain. */
export interface Operation {
  /** Does it, on another thread. When it has failed it may be called again. */
  run(): Promise<void>;
  /** What it holds in memory until it is done. */
  readonly bytes: number;
  /** The file that it changes. */
  readonly path?: string;
  /** Frees room: is done ahead of its turn when the disk is full. */
  readonly frees?: boolean;
  /** By which `cancel` can find it. */
  readonly owner?: object;
  /** Whether to go on without it. */
  givesUp?(error: unknown, tries: number): boolean;
}

/** A small file that says how far something has come. */
export interface Note {
  readonly bytes: number;
  /** Before others that are written at the same time. */
  readonly goesFirst?: boolean;
  write(): Promise<void>;
}

/** The disk has not taken what is to be synced, and nobody knows when it will. */
export class NotWritten extends Error {
  override readonly name = 'NotWritten';
}

/**
 * Changes files in the background, one after the other, in the order they were asked for: what is on disk at any moment
 * is what it would have been a moment earlier, had each change been made at once. So kill -9 costs what is still in
 * memory here, and nothing that comes later in the order is there without what comes before it.
 *
 * A change that fails holds up those behind it and is tried again. When the disk is full, changes that free room go first.
 *
 * One thread of libuv's is used for changes, and one for syncs that nothing waits behind.
 */
export class BackgroundWriter {
  /** For syncs that hold up no change. */
  readonly syncs = new Lane();
  /** Whether notes must wait: what they are about is only in memory. */
  holdsNotes: () => boolean = () => false;
  readonly #clock: Clock;
  readonly #most: number;
  readonly #alarm = new Alarm();
  readonly #listeners: ((error: unknown) => void)[] = [];
  readonly #waiters: { readonly until: number; readonly done: (error: unknown) => void }[] = [];
  #queue: Operation[] = [];
  /** Where each that waits stands in the order they were asked for. */
  readonly #numbers = new Map<Operation, number>();
  #asked = 0;
  #running: Operation | undefined;
  #runningSince: Duration | undefined;
  #isWorking = false;
  #bytes = 0;
  #isBehind = false;
  #trouble: unknown;
  /** Since the last failure for want of room, some has been made, or is about to be. */
  #roomMade = false;
  #notes = new Map<string, Note>();
  #heldNotes = new Map<string, Note>();
  #willNote = false;
  /** At most two: the first is written as it is, or notes would never be written while there is always more to write. */
  #groups: NoteGroup[] = [];

  /** @param most bytes that may wait in memory */
  constructor({ clock, most }: { clock: Clock; most: number }) {
    this.#clock = clock;
    this.#most = most;
  }

  /** Told when a change fails, and when more waits than may. */
  onTrouble(listener: (error: unknown) => void): void {
    this.#listeners.push(listener);
  }

  /** What waits in memory. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Why changes wait in memory, if they do so for long. A full disk is none: what is new isn't taken then. */
  get obstacle(): string | undefined {
    if (this.#trouble !== undefined) return isFull(this.#trouble) ? undefined : (this.#trouble as Error).message;
    const since = this.#runningSince;
    const waits = since === undefined ? 0 : this.#clock.monotonic() - since;
    return waits >= SLOW ? `the disk has not answered for ${Math.round(waits / 1_000)} s` : undefined;
  }

  /**
   * @param folder where something is to be written
   * @throws why nothing more may be asked for that needs memory
   */
  check(folder: string): void {
    if (this.#trouble !== undefined && !this.#mayHaveRoom(folder)) throw this.#trouble;
    if (!this.#isBehind) return;
    throw this.#tooSlow();
  }

  add(operation: Operation): void {
    this.#queue.push(operation);
    this.#asked += 1;
    this.#numbers.set(operation, this.#asked);
    this.grew(operation.bytes);
    if (operation.frees) {
      this.#roomMade = true;
      if (this.#trouble !== undefined) this.#alarm.ring();
    }
    this.#begin();
  }

  /** The last one asked for, if it has not been begun: something may be added to it, see `grew`. */
  get last(): Operation | undefined {
    return this.#queue.at(-1) === this.#running ? undefined : this.#queue.at(-1);
  }

  /** An operation that waits holds more than when it was added. */
  grew(bytes: number): void {
    this.#bytes += bytes;
    if (this.#isBehind || this.#bytes <= this.#most) return;
    this.#isBehind = true;
    // Not at once: a listener may log, a log line may become an event, and the caller is in the middle of adding one.
    const error = this.#tooSlow();
    queueMicrotask(() => this.#tell(error));
  }

  #tooSlow(): Error {
    return Object.assign(new Error(`the disk is too slow; ${this.#bytes} bytes wait for it`), { code: 'EAGAIN' });
  }

  /** Takes operations back that have not been begun. */
  cancel(isMeant: (operation: Operation) => boolean): void {
    const cancelled = this.#queue.filter((one) => one !== this.#running && isMeant(one));
    if (cancelled.length === 0) return;
    for (const one of cancelled) this.#finished(one);
    if (this.#trouble !== undefined) this.#alarm.ring();
  }

  /**
   * Writes a file behind everything asked for until the event loop's next turn, so that it never says more than is on
   * disk. Of several for one file only the last is written. A note that can't be written is tried again with the next
   * one.
   */
  note(path: string, note: Note): void {
    this.#heldNotes.delete(path);
    this.#notes.set(path, note);
    if (this.#willNote) return;
    this.#willNote = true;
    setImmediate(() => this.#addNotes());
  }

  /** Notes need no longer wait, see `holdsNotes`. */
  releaseNotes(): void {
    if (this.#heldNotes.size === 0 || this.holdsNotes()) return;
    const held = this.#heldNotes;
    this.#heldNotes = new Map();
    for (const [path, note] of held) this.note(path, note);
  }

  /** Resolves when everything asked for so far is done. @throws NotWritten when the disk refuses */
  async reached(): Promise<void> {
    if (this.#trouble !== undefined) throw new NotWritten('The disk refuses to be written.');
    const until = this.#asked;
    if (this.#isReached(until)) return;
    const error = await new Promise<unknown>((done) => this.#waiters.push({ until, done }));
    if (error !== undefined) throw new NotWritten('The disk refuses to be written.', { cause: error });
  }

  /** By file, the bytes that wait in memory. */
  unwritten(): Map<string, number> {
    const unwritten = new Map<string, number>();
    const add = (path: string, bytes: number) => unwritten.set(path, (unwritten.get(path) ?? 0) + bytes);
    for (const operation of this.#queue) {
      const { path = 'others', bytes } = operation;
      const group = this.#groups.find((one) => one === operation);
      if (group !== undefined) for (const [of, note] of group.notes) add(of, note.bytes);
      else if (bytes > 0) add(path, bytes);
    }
    return unwritten;
  }

  /** At the end: resolves when all is done, or after a limit of time. @returns the bytes that are not on disk */
  async settle(limit: Duration): Promise<number> {
    this.releaseNotes();
    this.#addNotes();
    const late = this.#clock.monotonic() + limit;
    while (this.#queue.length > 0 && this.#clock.monotonic() < late) await this.#clock.sleep(milliseconds(10));
    return this.#bytes;
  }

  #addNotes(): void {
    this.#willNote = false;
    if (this.#notes.size === 0) return;
    const [, second] = this.#groups;
    if (second !== undefined) {
      this.#notes = new Map([...second.notes, ...this.#notes]);
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
    this.add(group);
  }

  async #writeNotes(group: NoteGroup): Promise<void> {
    const inOrder = [...group.notes].sort(
      ([, a], [, b]) => Number(b.goesFirst ?? false) - Number(a.goesFirst ?? false),
    );
    for (const [path, note] of inOrder) {
      if (this.holdsNotes()) this.#hold(path, note, group);
      else if (!(await succeeds(note.write()))) break; // what comes behind may say that this one is written
    }
    this.#groups = this.#groups.filter((one) => one !== group);
  }

  /** Unless a newer one for the same file is to come, which it would overwrite. */
  #hold(path: string, note: Note, group: NoteGroup): void {
    const isOld = this.#notes.has(path) || this.#groups.some((one) => one !== group && one.notes.has(path));
    if (!isOld) this.#heldNotes.set(path, note);
  }

  #begin(): void {
    if (this.#isWorking) return;
    this.#isWorking = true;
    void this.#work();
  }

  /** A disk that was full a moment ago is asked, which costs no access to it: it would be tried again too late. */
  #mayHaveRoom(folder: string): boolean {
    if (!isFull(this.#trouble)) return false;
    if (!this.#roomMade && errnoOf(this.#trouble) === 'ENOSPC' && roomIn(folder) > this.#bytes + SLACK) {
      this.#roomMade = true;
      this.#alarm.ring();
    }
    return this.#roomMade;
  }

  async #work(): Promise<void> {
    for (let tries = 0, operation = this.#queue[0]; operation !== undefined; operation = this.#queue[0]) {
      const error = await this.#try(operation);
      tries = operation === this.#queue[0] ? tries + 1 : 0;
      if (error === undefined || operation.givesUp?.(error, tries)) {
        tries = 0;
        this.#trouble = undefined;
        this.#finished(operation);
      } else await this.#failed(error);
    }
    this.#trouble = undefined; // what met it has been taken back
    this.#isWorking = false;
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

  /** Rests before the next try, unless room has been made. */
  async #failed(error: unknown): Promise<void> {
    this.#roomMade = false;
    this.#trouble = error;
    this.#tell(error);
    for (const { done } of this.#waiters.splice(0)) done(error);
    if (isFull(error) && (await this.#free())) return;
    await this.#alarm.sleep(this.#clock, TRY_AGAIN, new AbortController().signal);
  }

  /** Does what frees room ahead of its turn. @returns whether there was anything */
  async #free(): Promise<boolean> {
    let freed = false;
    for (const operation of this.#queue.filter(({ frees }) => frees)) {
      const error = await this.#try(operation);
      if (error !== undefined && !operation.givesUp?.(error, 1)) continue;
      this.#finished(operation);
      freed ||= error === undefined;
    }
    return freed;
  }

  #finished(operation: Operation): void {
    this.#queue = this.#queue.filter((one) => one !== operation);
    this.#numbers.delete(operation);
    this.#bytes -= operation.bytes;
    if (this.#bytes <= this.#most / 2) this.#isBehind = false;
    for (let first = this.#waiters[0]; first !== undefined && this.#isReached(first.until); first = this.#waiters[0]) {
      this.#waiters.shift();
      first.done(undefined);
    }
  }

  #isReached(until: number): boolean {
    const first = this.#queue[0];
    return first === undefined || (this.#numbers.get(first) ?? 0) > until;
  }

  #tell(error: unknown): void {
    for (const listener of this.#listeners) {
      try {
        listener(error);
      } catch (defect) {
        // Logged as a defect. Thrown here, it would end the only loop that writes.
        queueMicrotask(() => {
          throw defect;
        });
      }
    }
  }
}

interface NoteGroup extends Operation {
  readonly notes: ReadonlyMap<string, Note>;
}

const succeeds = (work: Promise<void>): Promise<boolean> =>
  work.then(
    () => true,
    () => false,
  );

function roomIn(folder: string): number {
  try {
    const { bavail, bsize, ffree, files } = statfsSync(folder);
    return files > 0 && ffree === 0 ? 0 : bavail * bsize;
  } catch {
    return 0;
  }
}

const isFull = (error: unknown): boolean => errnoOf(error) === 'ENOSPC' || errnoOf(error) === 'EDQUOT';
