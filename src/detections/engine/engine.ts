import type { Clock } from '../../base/clock.ts';
import { isOfView, readField } from '../read-field.ts';
import { fieldsOf } from '../sigma/log-source.ts';
import { JUDGED } from '../sigma/modifiers.ts';
import type { DetectionRule } from '../sigma/rule.ts';
import type { LogSource, Subject, View } from '../subject.ts';
import { type Context, compile, type Matcher, neededBy } from './compile.ts';
import { Literals } from './literals.ts';
import { MatchCache } from './match-cache.ts';
import { Row } from './row.ts';

export interface Match {
  readonly rule: DetectionRule;
  /** The readings that matched: the first one, and all others for rules that a correlation refers to; none of events without. */
  readonly views: readonly View[];
  readonly cut: boolean;
}

/** Which rules match an event. */
export interface Judgement {
  readonly matches: readonly Match[];
  /** Whether all rules that are on were judged; what was passed over for now may match when it comes again. */
  readonly isWhole: boolean;
}

/**
 * Time that a rule may take in a minute, by the monotonic clock: a sum, and a little for each event, so that nobody can switch
 * off rules by starting many programs. A rule of the operator that takes longer is switched off. A shipped one passes over long
 * texts until the minute ends: whoever starts programs with slow arguments must not switch it off.
 */
const BUDGET_MS = 50;
const BUDGET_OF_EVENT_MS = 0.01;
const WINDOW_MS = 60_000;
/**
 * Of one reading, no more is charged than this, and this for each character. The worst text takes about as long; a process that
 * was not scheduled takes any time, and must not switch off rules.
 */
const MOST_CHARGED_MS = 0.05;
const MOST_CHARGED_OF_CHARACTER_MS = 0.0006;

/** In characters of a reading's own fields together: a text that takes long is longer. */
const SHORT = 1_024;

const NOTHING: Judgement = { matches: [], isWhole: true };
const NO_VIEWS: readonly undefined[] = [undefined];

/** A match while readings are judged. */
interface Found extends Match {
  readonly views: View[];
}

/** All rules on one log source, ready to be judged. */
interface Prepared {
  readonly rules: readonly DetectionRule[];
  readonly matchers: readonly Matcher[];
  /** The fields that are read, by slot. */
  readonly fields: readonly string[];
  /** Slots of fields that differ between readings. */
  readonly ofView: readonly number[];
  /** Slots with literals: of the event, and of each reading. */
  readonly searchedOnce: readonly number[];
  readonly searchedAgain: readonly number[];
  readonly literals: Literals;
  /** By literal: the rules that it makes candidates. */
  readonly selected: readonly (readonly number[])[];
  /** Rules without a literal: always tried. */
  readonly always: readonly number[];
  /** What the cache's key is made of. */
  readonly keyFields: readonly string[];
  readonly candidates: Uint8Array;
  readonly spent: Float64Array;
  /** Rules that pass over long texts until the minute ends. */
  readonly hurried: Uint8Array;
  readonly off: Uint8Array;
}

/** Judges which detections match an event. Correlations are another matter. */
export class Engine {
  readonly #sources = new Map<LogSource, Prepared>();
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #cache = new MatchCache<Judgement>();
  readonly #row = new Row();
  readonly #switchedOff = new Set<string>();
  readonly #correlated: ReadonlySet<string>;
  #isWhole = true;
  #passedOver = 0;
  #windowEnds = -Infinity;
  /** Events of this minute that the cache did not know. */
  #judged = 0;

  /**
   * @param list the entries of a list of the twin; empty if it isn't set
   * @param correlated ids of rules that a correlation refers to: two readings can belong to different groups
   */
  constructor({
    rules,
    correlated,
    list,
    clock,
  }: {
    readonly rules: readonly DetectionRule[];
    readonly correlated: ReadonlySet<string>;
    readonly list: (name: string) => readonly string[];
    readonly clock: Pick<Clock, 'monotonic'>;
  }) {
    this.#clock = clock;
    this.#correlated = correlated;
    const bySource = new Map<LogSource, DetectionRule[]>();
    for (const rule of rules) {
      for (const source of rule.facts.sources) bySource.set(source, [...(bySource.get(source) ?? []), rule]);
    }
    for (const [source, all] of bySource) this.#sources.set(source, prepare(all, list));
  }

  /** Ids of rules that took too much time; they stay off until rules are loaded again. */
  get switchedOff(): ReadonlySet<string> {
    return this.#switchedOff;
  }

  /** How many readings of events were not judged by a rule, because it had taken too much time before. */
  get passedOver(): number {
    return this.#passedOver;
  }

  /** Whether a detection reads this field of events from this source. */
  reads(source: LogSource, field: string): boolean {
    return this.#sources.get(source)?.keyFields.includes(field) ?? false;
  }

  judge(subject: Subject): Judgement {
    const prepared = this.#sources.get(subject.source);
    if (prepared === undefined) return NOTHING;
    const key = keyOf(subject, prepared.keyFields);
    const known = this.#cache.get(key);
    if (known !== undefined) return known;
    this.#judged += 1;
    this.#isWhole = true;
    const matches = this.#judge(subject, prepared);
    if (!this.#isWhole) return { matches, isWhole: false };
    const judgement = matches.length === 0 ? NOTHING : { matches, isWhole: true };
    this.#cache.set(key, judgement);
    return judgement;
  }

  #judge(subject: Subject, prepared: Prepared): readonly Match[] {
    const row = this.#row;
    const { fields, ofView, searchedOnce, searchedAgain, literals, selected, candidates, always } = prepared;
    candidates.fill(0);
    for (const rule of always) candidates[rule] = 1;
    const mark = (literal: number): void => {
      for (const rule of selected[literal] as readonly number[]) if (candidates[rule] === 0) candidates[rule] = 1;
    };
    let view: View | undefined;
    row.clear(fields.length, (slot) => readField(subject, view, fields[slot] as string));
    for (const slot of searchedOnce) literals.read(slot, row.text(slot), mark);
    const matches: Found[] = [];
    for (view of subject.views.length === 0 ? NO_VIEWS : subject.views) {
      row.forget(ofView);
      for (const slot of searchedAgain) literals.read(slot, row.text(slot), mark);
      this.#try(prepared, view, matches);
    }
    return matches;
  }

  /** Tries the candidates on the row. A literal found in one reading leaves its rule a candidate in later ones, too. */
  #try(prepared: Prepared, view: View | undefined, matches: Found[]): void {
    const { rules, matchers, ofView, candidates, spent, hurried, off } = prepared;
    const row = this.#row;
    // Of the reading alone: whoever starts programs gives all of them the same long command line of a parent.
    const isLong = (view === undefined ? row.length : row.lengthOf(ofView)) > SHORT;
    const most = MOST_CHARGED_MS + Math.min(row.length, JUDGED.head + JUDGED.tail) * MOST_CHARGED_OF_CHARACTER_MS;
    let began = this.#clock.monotonic();
    for (let index = 0; index < candidates.length; index += 1) {
      if (candidates[index] !== 1 || off[index] === 1) continue;
      if (hurried[index] === 1 && isLong && began < this.#windowEnds) {
        this.#isWhole = false;
        this.#passedOver += 1;
        continue;
      }
      const rule = rules[index] as DetectionRule;
      row.cut = false;
      const matched = (matchers[index] as Matcher)(row);
      const now = this.#clock.monotonic();
      if (matched) {
        const known = matches.find((match) => match.rule === rule);
        if (known === undefined) matches.push({ rule, cut: row.cut, views: view === undefined ? [] : [view] });
        else if (view !== undefined) known.views.push(view);
        if (!this.#correlated.has(rule.facts.id)) candidates[index] = 2; // the first reading is enough
      }
      if (now >= this.#windowEnds) this.#beginWindow(now);
      const total = (spent[index] as number) + Math.min(now - began, most);
      began = now;
      spent[index] = total;
      if (total <= BUDGET_MS + this.#judged * BUDGET_OF_EVENT_MS) continue;
      hurried[index] = 1;
      if (rule.facts.origin === 'builtin') continue;
      off[index] = 1;
      this.#switchedOff.add(rule.facts.id);
      this.#cache.clear();
    }
  }

  #beginWindow(now: number): void {
    this.#windowEnds = now + WINDOW_MS;
    this.#judged = 0;
    for (const { spent, hurried } of this.#sources.values()) {
      spent.fill(0);
      hurried.fill(0);
    }
  }
}

function prepare(rules: readonly DetectionRule[], list: Context['list']): Prepared {
  const slots = new Map<string, number>();
  const slotOf = (field: string): number => {
    const known = slots.get(field);
    if (known !== undefined) return known;
    slots.set(field, slots.size);
    return slots.size - 1;
  };
  // Keywords look at all fields, so these have a slot even if no rule names them.
  for (const field of ['Image', 'CommandLine', 'ParentImage', 'ParentCommandLine', 'User']) slotOf(field);
  const literals = new Literals();
  const context: Context = { slotOf, list, literals };
  const needed: { readonly literal: number; readonly rule: number }[] = [];
  const always: number[] = [];
  const matchers: Matcher[] = [];
  for (const [index, { expression }] of rules.entries()) {
    for (const field of fieldsOf(expression)) slotOf(field);
    matchers.push(compile(expression, context));
    const texts = neededBy(expression, context);
    if (texts === undefined) always.push(index);
    else for (const { slot, text } of texts) needed.push({ literal: literals.id(slot, text), rule: index });
  }
  const searched = literals.seal();
  const selected: number[][] = Array.from({ length: literals.count }, () => []);
  for (const { literal, rule } of needed)
    if (selected[literal]?.includes(rule) === false) selected[literal]?.push(rule);
  const fields = [...slots.keys()];
  const isAgain = (slot: number) => isOfView(fields[slot] as string);
  const own = new Set(fields.filter((field) => !isOfView(field)));
  if (fields.some(isOfView))
    for (const field of ['Executable', 'CommandLine', 'CurrentDirectory', 'Image']) own.add(field);
  return {
    rules,
    matchers,
    fields,
    ofView: [...fields.keys()].filter(isAgain),
    searchedOnce: searched.filter((slot) => !isAgain(slot)),
    searchedAgain: searched.filter(isAgain),
    literals,
    selected,
    always,
    keyFields: [...own],
    candidates: new Uint8Array(rules.length),
    spent: new Float64Array(rules.length),
    hurried: new Uint8Array(rules.length),
    off: new Uint8Array(rules.length),
  };
}

/** What decides which rules match. Readings follow from the fields, so that none need be made for what is known. */
function keyOf({ source, fields, bounds = '' }: Subject, names: readonly string[]): string {
  let key = `${source} ${bounds}`;
  for (const name of names) {
    const value = fields[name];
    key += value === undefined ? '-' : `${value.length}:${value}`; // no value can look like two, or like none
  }
  return key;
}
