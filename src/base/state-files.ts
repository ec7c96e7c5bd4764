import { rmSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
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

/**
 * Changes files on a thread of libuv's, since a sync can take seconds on a worn SD card, and any change as long as a file
 * system is frozen. Changes that come meanwhile, or within a second, are made together; of one file only the last.
 */
export class BackgroundStateFiles implements StateFiles {
  readonly #clock: Clock;
  readonly #lane: Lane;
  #waiting = new Map<string, Change>();
  #working: Promise<void> | undefined;
  /** Ends the pause between two batches. */
  #hurry = new AbortController();
  #hurried = 0;

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
    this.#hurried += 1;
    this.#hurry.abort();
    while (this.#working !== undefined) await this.#working;
    this.#hurried -= 1;
  }

  #change(path: string, contents: string | undefined, done: Done): void {
    const replaced = this.#waiting.get(path)?.done ?? [];
    this.#waiting.set(path, { contents, done: [...replaced, done] });
    this.#working ??= this.#work();
  }

  async #work(): Promise<void> {
    while (this.#waiting.size > 0) {
      await Promise.resolve(); // so that all that the caller changes goes together
      const batch = this.#waiting;
      this.#waiting = new Map();
      await this.#lane.run(() => changeAll(batch));
      this.#hurry = new AbortController();
      if (this.#hurried === 0) await this.#clock.sleep(SPACING, this.#hurry.signal);
    }
    this.#working = undefined;
  }
}

/** Never rejects: each change's `done` is told. */
async function changeAll(batch: ReadonlyMap<string, Change>): Promise<void> {
  const made: Done[] = [];
  const folders = new Set<string>();
  for (const [path, { contents, done }] of batch) {
    try {
      if (contents === undefined) await rm(path, { force: true });
      else await replace(path, contents);
      folders.add(dirname(path));
      made.push(...done);
    } catch (error) {
      tell(done, error);
    }
  }
  let error: unknown;
  for (const folder of folders) error = (await syncFolder(folder)) ?? error;
  tell(made, error);
}

/** As writeFileAtomic does it, without the sync of the folder. */
async function replace(path: string, contents: string): Promise<void> {
  const beside = `${path}.new`;
  await rm(beside, { force: true }); // one left by a crash would keep its own mode
  try {
    const file = await open(beside, 'wx', 0o600);
    try {
      await file.writeFile(contents);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(beside, path);
  } catch (error) {
    await rm(beside, { force: true }).catch(() => {});
    throw error;
  }
}

async function syncFolder(folder: string): Promise<unknown> {
  try {
    const file = await open(folder, 'r');
    try {
      await file.sync();
    } finally {
      await file.close();
    }
    return undefined;
  } catch (error) {
    return error;
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
