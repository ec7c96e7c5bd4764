/* An attacker picks the command line: everything here has a bound that does not depend on it. */

export const MAX_VIEWS = 32;
/**
 * Views of the start, and of what it runs. The others are for further spellings of these, so that neither displaces the other.
 */
export const MAX_NEAR_VIEWS = 24;
/** Scripts within scripts: `sh -c "sh -c 'eval …'"` is three. */
export const MAX_DEPTH = 3;
/** Wrappers before one command: `sudo nohup setsid …`. */
export const MAX_WRAPPERS = 32;
/** Simple commands of one script: more than a text can have, so that nothing hides behind padding. */
export const MAX_COMMANDS = 4_096;
/** Words of one command: the same. */
export const MAX_WORDS = 4_096;
/** In characters. Of longer texts, only the beginning and the end are read. */
export const HEAD = 6_144;
export const TAIL = 2_048;
/**
 * Characters that may be read in all for one process start, expansions, repeated reading and further views included: five times
 * the longest text.
 */
export const MAX_WORK = 40_960;

/** Counts characters that are read, so that nested or repeated text can't multiply the time. */
export class Work {
  readonly #limit: number;
  #done = 0;
  constructor(limit = MAX_WORK) {
    this.#limit = limit;
  }

  get done(): number {
    return this.#done;
  }

  /** @returns false when the limit is reached; whoever asks then does without */
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
/** Of a command within others: all of it is in the views around it, too. */
export const INNER: Cut = { head: HEAD / 4, tail: TAIL / 4 };

/** The beginning and the end of a long text; a newline where the middle was, so that neither runs into the other. */
export const cut = (text: string, { head, tail } = WHOLE): string =>
  text.length <= head + tail ? text : `${text.slice(0, head)}\n${text.slice(-tail)}`;

/** Files that one command, or one code, is seen to read or to write. */
const MAX_FILES = 4;

/** Of many files the first one and the last three: what counts often stands behind what distracts. */
export const firstAndLast = <File>(files: readonly File[]): readonly File[] =>
  files.length <= MAX_FILES ? files : [...files.slice(0, 1), ...files.slice(1 - MAX_FILES)];
