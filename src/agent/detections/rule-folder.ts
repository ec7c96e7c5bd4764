import { lstatSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import type { Clock } from '../../core/base/clock.ts';
import { seconds } from '../../core/base/duration.ts';
import { errnoOf, messageOf } from '../../core/base/errors.ts';

/** How long a listing is waited for; it goes on after that, and counts at the first look after its end. */
const LIMIT = seconds(10);

/**
 * The names of the rules in a folder, in their order, and of what may be taken for rules but is not read: see `problemOfName`.
 * Those of folders end with `/`. @throws the system's error, as ENOENT
 */
export const ruleFilesOf = async (folder: string): Promise<readonly string[]> =>
  (await readdir(folder, { withFileTypes: true }))
    .map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name))
    .filter((name) => /(?:\.ya?ml|\/)$/.test(name) && !name.startsWith('.'))
    .sort();

/** Why a file or a folder among the rules is not read. */
export function problemOfName(name: string): string | undefined {
  if (name.endsWith('/')) return 'it is a folder: only rules beside it are read';
  return name.endsWith('.yml') ? undefined : 'its name does not end in .yml';
}

/** Inode, times and size, or an error: what is written in place, replaced, added or removed has another trace. */
export function traceOf(path: string): string {
  try {
    const stats = lstatSync(path, { throwIfNoEntry: false, bigint: true });
    return stats === undefined ? '' : `${stats.ino} ${stats.mtimeNs} ${stats.ctimeNs} ${stats.size}`;
  } catch (error) {
    return messageOf(error);
  }
}

/** What a look at the folder found. */
export type Listing =
  /** Empty also for a folder that is not there. */
  | { readonly names: readonly string[] }
  /** Why it can't be listed. */
  | { readonly problem: string };

/** What the operator can do about a listing that hangs. */
export const LOCKED =
  'listing it takes too long: look for a program that keeps it locked; only root should be able to read it: chmod 700';

/** What the file system says of a folder that it did not list. */
export const listingOf = (error: unknown): Listing =>
  errnoOf(error) === 'ENOENT' ? { names: [] } : { problem: `it can't be read: ${messageOf(error)}` };

/**
 * The operator's folder of rules. It is listed by the thread pool, one listing at a time, and only when it has changed, or
 * could not be listed: a user who may read it can keep it locked (SECURITY.md, "Locked folders"), and the main thread must not
 * wait for that.
 */
export class RuleFolder {
  readonly path: string;
  readonly #clock: Pick<Clock, 'within'>;
  readonly #list: typeof ruleFilesOf;
  #last: Listing = { names: [] };
  /** The folder's trace at the last look, and at the one before. */
  #traces: readonly [string | undefined, string | undefined] = [undefined, undefined];
  #pending: Promise<Listing> | undefined;
  #isAwaited = false;
  /** What a listing found that nobody waited for any more. */
  #late: Listing | undefined;
  readonly #closing = new AbortController();

  /** @param list for tests */
  constructor(path: string, clock: Pick<Clock, 'within'>, list = ruleFilesOf) {
    this.path = path;
    this.#clock = clock;
    this.#list = list;
  }

  /** Whether a thread of this process still waits for the folder. */
  get isWaiting(): boolean {
    return this.#pending !== undefined;
  }

  /** The names in it. Waits ten seconds at most; `undefined` when it was closed meanwhile. Never rejects. */
  async look(): Promise<Listing | undefined> {
    const late = this.#late;
    this.#late = undefined;
    const trace = late === undefined ? traceOf(this.path) : undefined; // what is late may be old: the next look lists anew
    // Once more after a change: what came within a tick of the clock after a listing doesn't show in the folder's time.
    const isSettled = trace !== undefined && this.#traces.every((seen) => seen === trace) && 'names' in this.#last;
    this.#traces = [trace, this.#traces[0]];
    if (!isSettled) this.#last = late ?? (await this.#listed());
    return this.#closing.signal.aborted ? undefined : this.#last;
  }

  /** Ends a look that is under way. A thread may wait on. */
  close(): void {
    this.#closing.abort();
  }

  async #listed(): Promise<Listing> {
    this.#pending ??= this.#start();
    this.#isAwaited = true;
    const { signal } = this.#closing;
    let end = () => {};
    const closed = new Promise<never>((_, reject) => {
      end = () => reject(signal.reason);
    });
    signal.addEventListener('abort', end);
    if (signal.aborted) end();
    try {
      return await this.#clock.within(LIMIT, 'Listing the rules', Promise.race([this.#pending, closed]));
    } catch {
      return { problem: LOCKED };
    } finally {
      signal.removeEventListener('abort', end);
      this.#isAwaited = false;
    }
  }

  #start(): Promise<Listing> {
    return this.#list(this.path)
      .then((names): Listing => ({ names }), listingOf)
      .then((listing) => {
        this.#pending = undefined;
        if (!this.#isAwaited) this.#late = listing;
        return listing;
      });
  }
}
