import { copied } from '../../core/base/values.ts';
import type { Payload } from '../../core/contract/event.ts';
import type { Detector } from './detector.ts';
import type { Evaluation } from './engine/evaluation.ts';
import type { Program } from './subjects.ts';

/** Members of the payload that differ between starts of the same program. */
const OF_EACH_START: readonly string[] = ['ProcessId', 'ParentProcessId'];

/** Limits of a generation. */
const MAX_STARTS = 1_024;
const MAX_CHARACTERS = 512 * 1_024;
/** Starts with the same command line, by different users or parents. */
const MAX_STARTS_OF_LINE = 16;
/** Length of all that rules can read of a start; longer starts rarely recur. */
const MAX_START_CHARACTERS = 4_096;

const NONE: readonly Known[] = [];

/** The known facts about a start before fields are built. */
export interface SeenStart {
  readonly payload: Payload;
  /** The program of its parent, if known. */
  readonly parent?: Program | undefined;
  /** Its exact arguments, if known. */
  readonly argv?: readonly string[] | undefined;
}

/** A start that raised no alert. */
interface Known {
  /** All that rules can read of it except the command line: alternating names and values. */
  readonly texts: readonly string[];
  /** Bounds of its arguments, which are joined in the command line: `x y` can be one argument or two. */
  readonly lengths: readonly number[] | undefined;
  /** Ids of matching rules that a correlation refers to. None of them raises an alert itself. */
  readonly correlated: readonly string[];
}

/**
 * Recognises starts that raised no alert before, by the payload's own strings. In a burst, building fields for each start, or
 * even a key, and collecting them again, would cost more than the rules. So strings are compared in place.
 *
 * Belongs to one detector, because other rules may find the same start harmful. The least recently used entries are dropped, in
 * two generations: a full one replaces the older.
 */
export class HarmlessStarts {
  readonly #detector: Pick<Detector, 'alerts' | 'correlated' | 'ignores'>;
  /** Members that no rule reads; all of them are numbers. */
  readonly #unread: ReadonlySet<string>;
  /** Keyed by command line. */
  #young = new Map<string, readonly Known[]>();
  #old = new Map<string, readonly Known[]>();
  #starts = 0;
  #characters = 0;

  constructor(detector: Pick<Detector, 'alerts' | 'correlated' | 'ignores' | 'reads'>) {
    this.#detector = detector;
    this.#unread = new Set(OF_EACH_START.filter((field) => !detector.reads('process_creation', field)));
  }

  /**
   * Whether a start cannot cause an alert now.
   *
   * @param time of the start, in milliseconds since the epoch
   */
  has(start: SeenStart, time: number): boolean {
    const line = lineOf(start);
    const known = this.#find(this.#young, line, start) ?? this.#renewed(line, start);
    if (known === undefined) return false;
    return known.correlated.length === 0 || this.#detector.ignores(known.correlated, time);
  }

  /** Records the rules that a start matched. */
  learn(start: SeenStart, { matches, isWhole }: Evaluation): void {
    const line = lineOf(start);
    if (!isWhole || line.length > MAX_START_CHARACTERS || this.#detector.alerts(matches)) return;
    if (this.#find(this.#young, line, start) !== undefined) return;
    const texts: string[] = [];
    this.#visit(start, (text) => texts.push(copied(text)) > 0);
    const lengths = start.argv?.map(({ length }) => length);
    this.#add(line, { texts, lengths, correlated: this.#detector.correlated(matches) });
  }

  #find(generation: ReadonlyMap<string, readonly Known[]>, line: string, start: SeenStart): Known | undefined {
    for (const known of generation.get(line) ?? NONE) {
      if (!haveLengths(start.argv, known.lengths)) continue;
      let at = 0;
      const isSame = this.#visit(start, (text) => known.texts[at++] === text);
      if (isSame && at === known.texts.length) return known;
    }
    return undefined;
  }

  /** An entry of the older generation that is used again. */
  #renewed(line: string, start: SeenStart): Known | undefined {
    const known = this.#find(this.#old, line, start);
    if (known !== undefined) this.#add(line, known);
    return known;
  }

  #add(line: string, known: Known): void {
    const characters = known.texts.reduce((sum, { length }) => sum + length, line.length);
    if (characters > MAX_START_CHARACTERS) return;
    if (this.#starts >= MAX_STARTS || this.#characters + characters > MAX_CHARACTERS) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#starts = 0;
      this.#characters = 0;
    }
    const same = this.#young.get(line) ?? NONE;
    this.#young.set(copied(line), [known, ...same.slice(0, MAX_STARTS_OF_LINE - 1)]);
    this.#starts += 1;
    this.#characters += characters;
  }

  /** Calls `see` with all names and values that rules can read, except the command line, until it returns false. @returns whether it never did */
  #visit({ payload, parent }: SeenStart, take: (text: string) => boolean): boolean {
    for (const name in payload) {
      const value = payload[name];
      if (typeof value === 'object' && value !== null) {
        if (!take(name)) return false;
        for (const detail in value) {
          if (!take(detail) || !take(String((value as Payload)[detail]))) return false;
        }
        if (!take('')) return false; // ends the list: no member has an empty name
      } else if (name !== 'CommandLine' && (typeof value !== 'number' || !this.#unread.has(name))) {
        if (!take(name) || !take(String(value))) return false;
      }
    }
    if (parent === undefined) return true;
    const { executable, commandLine } = parent;
    return take('parent') && take(executable) && (commandLine === undefined || take(commandLine));
  }
}

const lineOf = ({ payload }: SeenStart): string => String(payload.CommandLine);

function haveLengths(argv: readonly string[] | undefined, lengths: readonly number[] | undefined): boolean {
  if (argv === undefined || lengths === undefined) return argv === lengths;
  return argv.length === lengths.length && lengths.every((length, at) => argv[at]?.length === length);
}
