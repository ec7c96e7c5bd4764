import { lstatSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import type { Clock } from '../base/clock.ts';
import { seconds } from '../base/duration.ts';
import { messageOf } from '../base/errors.ts';

/** How long a listing may take; it goes on after that, and counts when it ends. */
const LIMIT = seconds(10);

/** The names of the rules in a folder, in their order. @throws the system's error, as ENOENT */
export const ruleFilesOf = async (folder: string): Promise<readonly string[]> =>
  (await readdir(folder)).filter((name) => name.endsWith('.yml') && !name.startsWith('.')).sort();

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
  | { readonly names: readonly string[]; readonly error?: unknown }
  /** Listing it takes too long: a user who may read it can keep it locked (SECURITY.md, "Locked folders"). */
  | 'locked';

/**
 * The operator's folder of rules. It is listed by the thread pool, one listing at a time, and only when it has changed: the
 * main thread must not wait for who keeps it locked.
 */
export class RuleFolder {
  readonly path: string;
  readonly #clock: Pick<Clock, 'within'>;
  readonly #list: typeof ruleFilesOf;
  #last: Listing = { names: [] };
  /** The folder's trace at the last look, and at the one before. */
  #traces: readonly [string | undefined, string | undefined] = [undefined, undefined];
  #pending: Promise<Listing> | undefined;

  /** @param list for tests */
  constructor(path: string, clock: Pick<Clock, 'within'>, list = ruleFilesOf) {
    this.path = path;
    this.#clock = clock;
    this.#list = list;
  }

  /** The names in it; none, with the error, when it can't be listed. Never rejects. */
  async look(): Promise<Listing> {
    const trace = traceOf(this.path);
    // Once more after a change: what came within a tick of the clock after a listing doesn't show in the folder's time.
    const isSettled = this.#traces.every((seen) => seen === trace) && this.#last !== 'locked';
    this.#traces = [trace, this.#traces[0]];
    if (isSettled) return this.#last;
    this.#pending ??= this.#list(this.path)
      .then(
        (names) => ({ names }),
        (error: unknown) => ({ names: [], error }),
      )
      .finally(() => {
        this.#pending = undefined;
      });
    this.#last = await this.#clock.within(LIMIT, 'Listing the rules', this.#pending).catch(() => 'locked' as const);
    return this.#last;
  }
}
