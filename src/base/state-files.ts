import { rmSync } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { writeFileAtomic } from './atomic-file.ts';
import type { Clock } from './clock.ts';
import { seconds } from './duration.ts';
import { Lane } from './lane.ts';

/** Told once what became of a change: `undefined` when it is on disk, else why it isn't. */
export type Done = (error: unknown) => void;

/** Small files of state, each replaced as a whole so that a reader, or a machine that lost power, never sees a mixture. */
export interface StateFiles {
  /** The file is private to the agent's user. */
  replace(path: string, contents: string, done: Done): void;
  /** A file that is gone already is fine. */
  remove(path: string, done: Done): void;
  /** Resolves when everything asked for so far is done. */
  settled(): Promise<void>;
}

/** Changes files before it returns, on the caller's thread: for a command line tool, and for tests. */
export const immediateStateFiles: StateFiles = {
  replace: (path, contents, done) => attempt(() => writeFileAtomic(path, contents), done),
  remove: (path, done) => attempt(() => rmSync(path, { force: true }), done),
  settled: async () => {},
};

/** Between two batches: a message every half second changes the same file each time. */
const SPACING = seconds(1);

interface Change {
  /** `undefined`: the file is to be removed. */
  readonly contents: string | undefined;
  readonly done: readonly Done[];
}

/** From `hurry` on, how long a sync is waited for. */
const HURRIED_SYNC = seconds(2);

/**
 * Changes files on a thread of libuv's, since a sync can take seconds on a worn SD card, and any change as long as a file
 * system is frozen. Changes that come meanwhile, or within a second, are made together; of one file only the last.
 */
export class BackgroundStateFiles implements StateFiles {
  readonly #clock: Clock;
  readonly #lane: Lane;
  #waiting = new Map<string, Change>();
  /** The batch that is being made, less what has been. */
  #current = new Map<string, Change>();
  #working: Promise<void> | undefined;
  /** Ends the pause between two batches. */
  #wake = new AbortController();
  #awaited = 0;
  #isHurried = false;
  /** What to do at `hurry` about what is waited for. */
  #whenHurried = () => {};
  /** A sync took too long when there was no time. */
  #isTooSlow = false;

  /** @param lane shared with who else syncs files */
  constructor({ clock, lane = new Lane() }: { clock: Clock; lane?: Lane }) {
    this.#clock = clock;
    this.#lane = lane;
  }

  replace(path: string, contents: string, done: Done): void {
    this.#change(path, contents, done);
  }

  remove(path: string, done: Done): void {
    this.#change(path, undefined, done);
  }

  async settled(): Promise<void> {
    this.#awaited += 1;
    this.#wake.abort();
    while (this.#working !== undefined) await this.#working;
    this.#awaited -= 1;
  }

  /**
   * To be called when the process is about to end: what would be lost with it matters more than what a power cut would
   * take. From now on no change waits for others' syncs. A sync of its own is waited for two seconds; if it takes longer,
   * files are no longer synced: the kernel writes them when it can.
   */
  hurry(): void {
    this.#isHurried = true;
    this.#wake.abort();
    this.#whenHurried();
  }

  /** By file, the bytes that would be lost if the process ended now. */
  unwritten(): Map<string, number> {
    const changes = [...this.#current, ...this.#waiting];
    return new Map(changes.map(([path, { contents = '' }]) => [path, Buffer.byteLength(contents)]));
  }

  #change(path: string, contents: string | undefined, done: Done): void {
    const replaced = this.#waiting.get(path)?.done ?? [];
    this.#waiting.set(path, { contents, done: [...replaced, done] });
    this.#working ??= this.#work();
  }

  async #work(): Promise<void> {
    while (this.#waiting.size > 0) {
      await Promise.resolve(); // so that all that the caller changes goes together
      this.#current = this.#waiting;
      this.#waiting = new Map();
      await this.#inLane(() => this.#changeAll());
      this.#wake = new AbortController();
      const { signal } = this.#wake;
      if (this.#awaited === 0 && !this.#isHurried) await this.#clock.sleep(SPACING, signal);
    }
    this.#working = undefined;
  }

  /** In its turn, or at once when there is no time. */
  #inLane(work: () => Promise<void>): Promise<void> {
    if (this.#isHurried) return work();
    return new Promise((resolve) => {
      let begun: Promise<void> | undefined;
      const begin = () => {
        this.#whenHurried = () => {};
        begun ??= work();
        resolve(begun);
        return begun;
      };
      this.#whenHurried = begin;
      void this.#lane.run(begin);
    });
  }

  /** Never rejects: each change's `done` is told. */
  async #changeAll(): Promise<void> {
    const made: Done[] = [];
    const folders = new Set<string>();
    for (const [path, { contents, done }] of [...this.#current]) {
      try {
        if (contents === undefined) await rm(path, { force: true });
        else await this.#replace(path, contents);
        folders.add(dirname(path));
        made.push(...done);
      } catch (error) {
        tell(done, error);
      }
      this.#current.delete(path);
    }
    let error: unknown;
    for (const folder of folders) error = (await this.#syncFolder(folder)) ?? error;
    tell(made, error);
  }

  /** As writeFileAtomic does it, without the sync of the folder. */
  async #replace(path: string, contents: string): Promise<void> {
    const beside = `${path}.new`;
    await rm(beside, { force: true }); // one left by a crash would keep its own mode
    try {
      const file = await open(beside, 'wx', 0o600);
      try {
        await file.writeFile(contents);
      } catch (error) {
        await file.close();
        throw error;
      }
      await this.#sync(file);
      await rename(beside, path);
    } catch (error) {
      await rm(beside, { force: true }).catch(() => {});
      throw error;
    }
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

  /** Closes it as well. Resolves early when there is no time. */
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
        await this.#clock.sleep(HURRIED_SYNC, done.signal);
        this.#isTooSlow ||= !done.signal.aborted;
        if (this.#isTooSlow) resolve();
      };
      if (this.#isHurried) void limit();
      else this.#whenHurried = () => void limit();
    });
  }
}

function attempt(change: () => void, done: Done): void {
  try {
    change();
  } catch (error) {
    done(error ?? new Error('unknown'));
    return;
  }
  done(undefined);
}

function tell(all: readonly Done[], error: unknown): void {
  for (const done of all) done(error);
}
