import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock } from '../../core/base/clock.ts';
import { type Duration, LONG_AGO, milliseconds, minutes, NEVER, seconds } from '../../core/base/duration.ts';
import { Lane } from '../../core/base/lane.ts';
import { callAll } from './notifier.ts';
import { UnsavedFiles } from './unsaved-files.ts';

/** Called once for each change: with `undefined` when it is on disk, else with the error. */
export type Done = (error: unknown) => void;

/** When a file is changed. */
export type When = 'soon' | 'later';

/**
 * Small files of state. Each is replaced atomically: no reader, and no boot after a power cut, finds a mixture.
 *
 * There are two ways to write a small file:
 *
 * - StateFiles, for what must survive a power cut, such as message numbers or settings. Each change is synced, which costs
 *   40 to 60 KB of flash, and is independent of all others.
 * - NoteFile, for what describes other data, such as how far a log has been read. A note is written after the events that
 *   precede it, is not synced, and survives `kill -9` only.
 *
 * Files that grow are written by the pipeline, see StoreFiles.
 */
export interface StateFiles {
  /**
   * The file is private to the agent's user.
   *
   * @param when `later`: together with other changes, to spare the disk, unless something waits for `settled`
   */
  replace(path: string, contents: string, done: Done, when?: When): void;
  /** Succeeds if the file does not exist. */
  remove(path: string, done: Done): void;
  /** Resolves when all changes so far are done. */
  settled(): Promise<void>;
}

/** Delay between two batches: each message sent changes the same file, up to twice a second. */
const SPACING = seconds(1);

interface Change {
  /** `undefined`: the file is to be removed. */
  readonly contents: string | undefined;
  readonly done: readonly Done[];
}

/** Interval at which a change that failed is repeated, together with others. */
const REPEAT_EVERY = minutes(1);

/** How long each sync is waited for after `hurry`. */
const URGENT_SYNC_LIMIT = seconds(2);

/**
 * Changes files on a libuv thread: a sync can take seconds on a worn SD card, and any change blocks while a file system
 * is frozen. Changes that are requested meanwhile, or within a second, are made as one batch; of one file only the
 * last. A change that failed is repeated with a later batch, so that the file is saved once the disk accepts it.
 */
export class BackgroundStateFiles implements StateFiles {
  readonly #clock: Clock;
  readonly #lane: Lane;
  #waiting = new Map<string, Change>();
  /** Changes of the current batch that are not done. */
  #current = new Map<string, Change>();
  /** Contents of files whose last change failed. */
  readonly #failed = new Map<string, string | undefined>();
  #repeatedAt = LONG_AGO;
  readonly #unsaved: UnsavedFiles;
  #working: Promise<void> | undefined;
  /** Ends the pause between two batches. */
  #wake = new AbortController();
  readonly #laterAfter: Duration;
  /** When the changes that wait are made at the latest: the first one that is to be made soon has no time to wait. */
  #dueAt = NEVER;
  /** Ends the wait for others of changes that are to be made later. */
  #due = new AbortController();
  #awaited = 0;
  #isUrgent = false;
  /** Called by `hurry`: shortens the current wait. */
  #onHurry = () => {};
  /** A sync after `hurry` exceeded URGENT_SYNC_LIMIT: no further sync is made. */
  #isTooSlow = false;

  /**
   * @param lane shared by all that sync files
   * @param laterAfter when to make changes that can wait. Default: immediately
   * @param unsaved receives the files whose change failed
   */
  constructor({
    clock,
    lane = new Lane(),
    laterAfter = milliseconds(0),
    unsaved = new UnsavedFiles(),
  }: {
    clock: Clock;
    lane?: Lane;
    laterAfter?: Duration;
    unsaved?: UnsavedFiles;
  }) {
    this.#clock = clock;
    this.#lane = lane;
    this.#laterAfter = laterAfter;
    this.#unsaved = unsaved;
  }

  replace(path: string, contents: string, done: Done, when: When = 'soon'): void {
    this.#change(path, contents, done, when);
  }

  remove(path: string, done: Done): void {
    this.#change(path, undefined, done, 'soon');
  }

  async settled(): Promise<void> {
    this.#awaited += 1;
    this.#due.abort();
    this.#wake.abort();
    while (this.#working !== undefined) await this.#working;
    this.#awaited -= 1;
  }

  /**
   * Call this when the process is about to exit. From now on changes do not wait for the lane, and wait for their
   * own sync two seconds at most. After a sync that took longer, files are no longer synced: they survive the process,
   * but may be lost in a power cut.
   */
  hurry(): void {
    this.#isUrgent = true;
    this.#due.abort();
    this.#wake.abort();
    this.#onHurry();
  }

  /** By file, the bytes that would be lost if the process ended now. */
  unwritten(): Map<string, number> {
    const changes = [...this.#current, ...this.#waiting];
    return new Map(changes.map(([path, { contents = '' }]) => [path, Buffer.byteLength(contents)]));
  }

  #change(path: string, contents: string | undefined, done: Done, when: When): void {
    const replaced = this.#waiting.get(path)?.done ?? [];
    this.#waiting.set(path, { contents, done: [...replaced, done] });
    const dueAt = this.#clock.monotonic() + (when === 'soon' ? 0 : this.#laterAfter);
    if (dueAt < this.#dueAt) this.#dueAt = milliseconds(dueAt);
    if (when === 'soon') this.#due.abort();
    this.#working ??= this.#work();
  }

  async #work(): Promise<void> {
    while (this.#waiting.size > 0) {
      await Promise.resolve(); // so that all synchronous calls of the caller are in one batch
      await this.#untilDue();
      this.#dueAt = NEVER;
      this.#repeatFailed();
      this.#current = this.#waiting;
      this.#waiting = new Map();
      await this.#inLane(() => this.#changeAll());
      this.#wake = new AbortController();
      const { signal } = this.#wake;
      if (this.#awaited === 0 && !this.#isUrgent) await this.#clock.sleep(SPACING, signal);
    }
    this.#working = undefined;
  }

  /** Adds the changes that failed, unless a newer one replaces them. */
  #repeatFailed(): void {
    const now = this.#clock.monotonic();
    if (!this.#isUrgent && now - this.#repeatedAt < REPEAT_EVERY) return;
    this.#repeatedAt = now;
    for (const [path, contents] of this.#failed)
      if (!this.#waiting.has(path)) this.#waiting.set(path, { contents, done: [] });
  }

  async #untilDue(): Promise<void> {
    const left = this.#dueAt - this.#clock.monotonic();
    if (left <= 0 || this.#awaited > 0 || this.#isUrgent) return;
    this.#due = new AbortController();
    await this.#clock.sleep(milliseconds(left), this.#due.signal);
  }

  /** Runs `work` when earlier work of the lane has settled, or immediately after `hurry`. */
  #inLane(work: () => Promise<void>): Promise<void> {
    if (this.#isUrgent) return work();
    return new Promise((resolve) => {
      let begun: Promise<void> | undefined;
      const begin = () => {
        this.#onHurry = () => {};
        begun ??= work();
        resolve(begun);
        return begun;
      };
      this.#onHurry = begin;
      void this.#lane.run(begin);
    });
  }

  /** Never rejects: errors are passed to each change's `done`. */
  async #changeAll(): Promise<void> {
    const made = new Map<string, Change>();
    const folders = new Map<string, unknown>();
    for (const [path, { contents, done }] of [...this.#current]) {
      try {
        if (contents === undefined) await rm(path, { force: true });
        else await replaceFile(path, contents, (file) => this.#sync(file));
        folders.set(dirname(path), undefined);
        made.set(path, { contents, done });
      } catch (error) {
        this.#finished(path, { contents, done }, error ?? new Error('unknown'));
      }
      this.#current.delete(path);
    }
    for (const folder of folders.keys()) folders.set(folder, await this.#syncFolder(folder));
    for (const [path, change] of made) this.#finished(path, change, folders.get(dirname(path)));
  }

  #finished(path: string, { contents, done }: Change, error: unknown): void {
    this.#unsaved.report(path, error);
    if (error === undefined) this.#failed.delete(path);
    else this.#failed.set(path, contents);
    callAll(done, error);
  }

  async #syncFolder(folder: string): Promise<unknown> {
    if (this.#isTooSlow) return undefined;
    try {
      await this.#sync(await open(folder, 'r'));
      return undefined;
    } catch (error) {
      return error;
    }
  }

  /** Syncs and closes a file. After `hurry` it resolves when URGENT_SYNC_LIMIT is over, even if the sync is not done. */
  async #sync(file: FileHandle): Promise<void> {
    if (this.#isTooSlow) return file.close();
    const done = new AbortController();
    const synced = file
      .sync()
      .finally(() => done.abort())
      .finally(() => file.close());
    await new Promise<void>((resolve, reject) => {
      synced.then(resolve, reject);
      const limit = async () => {
        await this.#clock.sleep(URGENT_SYNC_LIMIT, done.signal);
        this.#isTooSlow ||= !done.signal.aborted;
        if (this.#isTooSlow) resolve();
      };
      if (this.#isUrgent) void limit();
      else this.#onHurry = () => void limit();
    });
  }
}

/**
 * Like writeFileAtomic, without the sync of the folder.
 *
 * @param close closes the new file, after a sync if it must survive a power cut
 */
export async function replaceFile(
  path: string,
  contents: string | Buffer,
  close: (file: FileHandle) => Promise<void>,
): Promise<void> {
  const temporaryPath = `${path}.new`;
  await rm(temporaryPath, { force: true }); // one left by a crash would keep its own mode
  try {
    const file = await open(temporaryPath, 'wx', 0o600);
    try {
      await file.writeFile(contents);
    } catch (error) {
      await file.close();
      throw error;
    }
    await close(file);
    await rename(temporaryPath, path);
  } catch (error) {
    await rm(temporaryPath, { force: true }).catch(() => {});
    throw error;
  }
}
