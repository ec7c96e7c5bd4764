import type { Payload } from '../contract/event.ts';
import type { Detector } from './detector.ts';
import type { Judgement, Match } from './engine/engine.ts';
import { MatchCache } from './engine/match-cache.ts';
import { boundsOf, type Program } from './subjects.ts';

/** Members of a start's payload that differ from start to start of the same program. */
const OF_EACH_START: readonly string[] = ['ProcessId', 'ParentProcessId'];

/**
 * Recognises starts that raised no alert before, by the payload's own texts: in a burst, to make fields of each start, and to
 * collect them again, would cost more than the rules.
 *
 * Belongs to one detector: other rules may find the same start harmful.
 */
export class HarmlessStarts {
  readonly #detector: Pick<Detector, 'alerts' | 'ignores'>;
  /** The matches of starts, none of which raises an alert by itself. */
  readonly #known = new MatchCache<readonly Match[]>();
  /** Members that no rule reads. */
  readonly #unread: ReadonlySet<string>;

  constructor(detector: Pick<Detector, 'alerts' | 'ignores' | 'reads'>) {
    this.#detector = detector;
    this.#unread = new Set(OF_EACH_START.filter((field) => !detector.reads('process_creation', field)));
  }

  /** All that rules can read of a start: two starts with the same key match the same rules. */
  keyOf(payload: Payload, parent: Program | undefined, argv?: readonly string[]): string {
    let key = `${boundsOf(argv)}${this.#textOf(payload)}`;
    if (parent !== undefined) key += `|${partOf(parent.executable)}${partOf(parent.commandLine)}`;
    return key;
  }

  #textOf(values: Payload): string {
    let text = '';
    for (const name in values) {
      if (this.#unread.has(name)) continue;
      const value = values[name];
      text +=
        typeof value === 'object' && value !== null
          ? `${name}{${this.#textOf(value as Payload)}}`
          : `${name}${partOf(value)}`;
    }
    return text;
  }

  /**
   * Whether no alert can come of such a start, now.
   *
   * @param time of the start, in milliseconds since the epoch
   */
  has(key: string, time: number): boolean {
    const matches = this.#known.get(key);
    return matches !== undefined && (matches.length === 0 || this.#detector.ignores(matches, time));
  }

  /** Remembers which rules a start matched. */
  learn(key: string, { matches, isWhole }: Judgement): void {
    if (isWhole && !this.#detector.alerts(matches)) this.#known.set(key, matches);
  }
}

/** With its length, so that no value can look like two. */
const partOf = (value: unknown): string => {
  const text = String(value);
  return `=${text.length}:${text}`;
};
