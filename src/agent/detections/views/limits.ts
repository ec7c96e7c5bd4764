/* An attacker chooses the command line, so all limits here are independent of it. */

export const MAX_VIEWS = 32;
/**
 * Limits of views of the start and of its commands. The rest is for alternative spellings, so that neither displaces the other.
 */
export const MAX_NEAR_VIEWS = 24;
/** Nested scripts: `sh -c "sh -c 'eval …'"` has three. */
export const MAX_DEPTH = 3;
/** Wrappers before one command: `sudo nohup setsid …`. */
export const MAX_WRAPPERS = 32;
/** Simple commands of one script: more than a text can contain, so that padding hides nothing. */
export const MAX_COMMANDS = 4_096;
/** Words of one command: likewise. */
export const MAX_WORDS = 4_096;
/** In characters. Only the beginning and the end of longer input are read. */
export const HEAD = 6_144;
export const TAIL = 2_048;
/**
 * Total characters that may be read for one process start, including expansions, repeated reading and further views: five times
 * the longest text.
 */
export const MAX_WORK = 40_960;

/** Counts the characters that are read, so that nested or repeated text can't multiply the time. */
export class Work {
  readonly #limit: number;
  #done = 0;
  constructor(limit = MAX_WORK) {
    this.#limit = limit;
  }

  get done(): number {
    return this.#done;
  }

  /** @returns false if the limit is reached; the caller then skips the work */
  spend(characters: number): boolean {
    if (this.#done + characters > this.#limit) return false;
    this.#done += characters;
    return true;
  }
}

interface Cut {
  readonly head: number;
  readonly tail: number;
}
const WHOLE: Cut = { head: HEAD, tail: TAIL };
/** For a command within others: the surrounding views contain it completely. */
export const INNER: Cut = { head: HEAD / 4, tail: TAIL / 4 };

/** The beginning and the end of a long text, separated by a newline. */
export const cut = (text: string, { head, tail } = WHOLE): string =>
  text.length <= head + tail ? text : `${text.slice(0, head)}\n${text.slice(-tail)}`;

/** Maximum number of files that one command, or one program text, is seen to read or write. */
const MAX_FILES = 4;

/** The first and the last three of many files: the relevant one often comes after decoys. */
export const firstAndLast = <File>(files: readonly File[]): readonly File[] =>
  files.length <= MAX_FILES ? files : [...files.slice(0, 1), ...files.slice(1 - MAX_FILES)];
