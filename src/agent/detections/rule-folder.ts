import { lstatSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import type { Clock } from '../../core/base/clock.ts';
import { seconds } from '../../core/base/duration.ts';
import { errnoOf, messageOf } from '../../core/base/errors.ts';

/** Time limit for a listing; it continues after that, and its result is used by the first check after it completes. */
const LIMIT = seconds(10);

/**
 * The names of the rules in a directory, in order, and of entries that look like rules but are not read: see `problemOfName`.
 * Names of directories end with `/`. @throws the system's error, such as ENOENT
 */
export const ruleFilesOf = async (folder: string): Promise<readonly string[]> =>
  (await readdir(folder, { withFileTypes: true }))
    .map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name))
    .filter((name) => /(?:\.ya?ml|\/)$/.test(name) && !name.startsWith('.'))
    .sort();

/** Why an entry of the rule directory is not read. */
export function problemOfName(name: string): string | undefined {
  if (name.endsWith('/')) return 'it is a folder: only rules beside it are read';
  return name.endsWith('.yml') ? undefined : 'its name does not end in .yml';
}

/** Inode, times and size, or an error: the trace changes when a file is written in place, replaced, added or removed. */
export function traceOf(path: string): string {
  try {
    const stats = lstatSync(path, { throwIfNoEntry: false, bigint: true });
    return stats === undefined ? '' : `${stats.ino} ${stats.mtimeNs} ${stats.ctimeNs} ${stats.size}`;
  } catch (error) {
    return messageOf(error);
  }
}

/** Result of a check of the directory. */
export type Listing =
  /** Empty if the directory does not exist. */
  | { readonly names: readonly string[] }
  /** Why the directory can't be listed. */
  | { readonly problem: string };

/** What the operator can do about a hanging listing. */
export const LOCKED =
  'listing it takes too long: look for a program that keeps it locked; only root should be able to read it: chmod 700';

/** The file system of a directory that it did not list. */
export const listingOf = (error: unknown): Listing =>
  errnoOf(error) === 'ENOENT' ? { names: [] } : { problem: `it can't be read: ${messageOf(error)}` };

/**
 * The operator's rule directory. The thread pool lists it, one listing at a time, and only if it has changed or could not be
 * listed. A user who can read it can keep it locked (SECURITY.md, "Locked folders"), and the main thread must not wait for
 * that.
 */
export class RuleFolder {
  readonly path: string;
  readonly #clock: Pick<Clock, 'within'>;
  readonly #list: typeof ruleFilesOf;
  #last: Listing = { names: [] };
  /** The directory's trace at the last check, and at the one before. */
  #traces: readonly [string | undefined, string | undefined] = [undefined, undefined];
  #pending: Promise<Listing> | undefined;
  #isAwaited = false;
  /** The result of a listing that completed after its time limit. */
  #late: Listing | undefined;
  readonly #closing = new AbortController();

  /** @param list for tests */
  constructor(path: string, clock: Pick<Clock, 'within'>, list = ruleFilesOf) {
    this.path = path;
    this.#clock = clock;
    this.#list = list;
  }

  /** Whether a thread of this process still waits for the directory. */
  get isWaiting(): boolean {
    return this.#pending !== undefined;
  }

  /** The names in it. Waits at most ten seconds; `undefined` if it was closed while waiting. Never rejects. */
  async look(): Promise<Listing | undefined> {
    const late = this.#late;
    this.#late = undefined;
    const trace = late === undefined ? traceOf(this.path) : undefined; // a late result may be outdated: the next check lists again
    // List again after a change: a change within a clock tick after a listing doesn't show in the directory's time.
    const isSettled = trace !== undefined && this.#traces.every((seen) => seen === trace) && 'names' in this.#last;
    this.#traces = [trace, this.#traces[0]];
    if (!isSettled) this.#last = late ?? (await this.#listed());
    return this.#closing.signal.aborted ? undefined : this.#last;
  }

  /** Aborts a check in progress. A thread may continue to wait. */
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
