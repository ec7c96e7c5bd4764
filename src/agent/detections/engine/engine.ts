import type { Clock } from '../../../core/base/clock.ts';
import { ownAutomata } from '../../pattern/pattern.ts';
import { isOfView, readField, wordFields, wordsOf } from '../read-field.ts';
import { JUDGED } from '../sigma/modifiers.ts';
import type { DetectionRule } from '../sigma/rule.ts';
import type { LogSource, Subject, View } from '../subject.ts';
import type { List } from './compile.ts';
import { type Condition, compileCondition } from './compile-condition.ts';
import { copyOfEvaluation, type Evaluation, type Match, sizeOfEvaluation } from './evaluation.ts';
import type { Literals } from './literals.ts';
import { MatchCache } from './match-cache.ts';
import { Row } from './row.ts';
import { Selected, select } from './select.ts';
import type { Selection } from './selection.ts';

/**
 * Time that a rule may take in a minute, by the monotonic clock: a sum, and a little for each event, so that nobody can switch
 * off rules by starting many programs. A rule of the operator that takes longer is switched off. A shipped one passes over long
 * texts until the minute ends: whoever starts programs with slow arguments must not switch it off.
 */
const BUDGET_MS = 50;
const BUDGET_OF_EVENT_MS = 0.01;
const WINDOW_MS = 60_000;
/**
 * Of one view, no more is charged than this, and this for each character. The worst text takes about as long; a process that
 * was not scheduled takes any time, and must not switch off rules.
 */
const MAX_CHARGED_MS = 0.05;
const MAX_CHARGED_OF_CHARACTER_MS = 0.0006;
/** Besides, for each byte of automata that were built again: rules of the operator need more than their limit of memory. */
const MAX_CHARGED_OF_BYTE_MS = 0.0001;

/** In characters of a view's own fields together: a text that takes long is longer. */
const SHORT_TEXT_CHARACTERS = 1_024;

/** That a match names. */
const MAX_SELECTIONS = 4;

const NOTHING: Evaluation = { matches: [], isWhole: true };
const NO_VIEWS: readonly undefined[] = [undefined];

/** A match while views are judged. */
interface Found extends Match {
  readonly views: View[];
}

/** One text that is searched for literals: its slot in the row, and in the selection. */
interface Searched {
  readonly slot: number;
  readonly literals: Literals;
  readonly of: number;
  /** Makes a rule of the selection a candidate. */
  readonly mark: (rule: number) => void;
}

/** All rules on one log source, ready to be judged. */
interface Prepared {
  readonly rules: readonly DetectionRule[];
  /** Made when a rule is first a candidate: most never are. */
  readonly conditions: (Condition | undefined)[];
  readonly compileRule: (rule: number) => Condition;
  /** The fields that are read, by slot. */
  readonly fields: readonly string[];
  /** Slots of fields that differ between views. */
  readonly ofView: readonly number[];
  /** Texts with literals: of the event, and of each view. */
  readonly searchedOnce: readonly Searched[];
  readonly searchedAgain: readonly Searched[];
  /** Rules without a literal: always tried. */
  readonly always: readonly number[];
  /** What the cache's key is made of, besides all fields in which keywords are looked for. */
  readonly keyFields: readonly string[];
  readonly hasKeywords: boolean;
  /** By rule: 0 none, 1 to be tried, 2 matched by an earlier view, which is enough. */
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
  readonly #cache = new MatchCache<Evaluation>({ sizeOf: sizeOfEvaluation, copy: copyOfEvaluation });
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
   * @param correlated ids of rules that a correlation refers to: two views can belong to different groups
   */
  constructor({
    rules,
    correlated,
    list,
    clock,
  }: {
    readonly rules: readonly DetectionRule[];
    readonly correlated: ReadonlySet<string>;
    readonly list: List;
    readonly clock: Pick<Clock, 'monotonic'>;
  }) {
    this.#clock = clock;
    this.#correlated = correlated;
    ownAutomata.empty(); // those of rules that were loaded before would push out others
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

  /** How many views of events were not judged by a rule, because it had taken too much time before. */
  get passedOver(): number {
    return this.#passedOver;
  }

  /** Whether a detection reads this field of events from this source. */
  reads(source: LogSource, field: string): boolean {
    return this.#sources.get(source)?.keyFields.includes(field) ?? false;
  }

  evaluate(subject: Subject): Evaluation {
    const prepared = this.#sources.get(subject.source);
    if (prepared === undefined) return NOTHING;
    const key = keyOf(subject, prepared);
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
    const { fields, ofView, searchedOnce, searchedAgain, candidates, always, hasKeywords } = prepared;
    candidates.fill(0);
    for (const rule of always) candidates[rule] = 1;
    let view: View | undefined;
    row.clear(
      fields.length,
      (slot) => readField(subject, view, fields[slot] as string),
      () => wordsOf(subject, view),
    );
    for (const { literals, of, slot, mark } of searchedOnce) literals.read(of, row.text(slot), mark);
    const matches: Found[] = [];
    for (view of subject.views.length === 0 ? NO_VIEWS : subject.views) {
      row.forget(ofView);
      if (hasKeywords) row.all(true); // so that their length counts
      for (const { literals, of, slot, mark } of searchedAgain) literals.read(of, row.text(slot), mark);
      this.#try(prepared, view, matches);
    }
    return matches;
  }

  /** Tries the candidates on the row. A literal found in one view leaves its rule a candidate in later ones, too. */
  #try(prepared: Prepared, view: View | undefined, matches: Found[]): void {
    const { rules, conditions, compileRule, ofView, candidates, spent, hurried, off } = prepared;
    const row = this.#row;
    // Of the view alone: whoever starts programs gives all of them the same long command line of a parent.
    const isLong = (view === undefined ? row.length : row.lengthOf(ofView)) > SHORT_TEXT_CHARACTERS;
    const most = MAX_CHARGED_MS + Math.min(row.length, JUDGED.head + JUDGED.tail) * MAX_CHARGED_OF_CHARACTER_MS;
    let began = this.#clock.monotonic();
    for (let index = 0; index < candidates.length; index += 1) {
      if (candidates[index] !== 1 || off[index] === 1) continue;
      if (hurried[index] === 1 && isLong && began < this.#windowEnds) {
        this.#isWhole = false;
        this.#passedOver += 1;
        continue;
      }
      const rule = rules[index] as DetectionRule;
      let condition = conditions[index];
      if (condition === undefined) {
        condition = compileRule(index);
        conditions[index] = condition;
        began = this.#clock.monotonic();
      }
      row.cut = false;
      const { remade } = ownAutomata;
      const matched = condition.matches(row);
      const now = this.#clock.monotonic();
      if (matched) {
        const known = matches.find((match) => match.rule === rule);
        if (known === undefined) {
          const { cut } = row; // before the selections are tried again
          const selections = condition.selections(row).slice(0, MAX_SELECTIONS);
          matches.push({ rule, cut, views: view === undefined ? [] : [view], selections });
        } else if (view !== undefined) known.views.push(view);
        if (!this.#correlated.has(rule.facts.id)) candidates[index] = 2; // the first view is enough
      }
      if (now >= this.#windowEnds) this.#beginWindow(now);
      const charged = Math.min(now - began, most + (ownAutomata.remade - remade) * MAX_CHARGED_OF_BYTE_MS);
      const total = (spent[index] as number) + charged;
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

function prepare(rules: readonly DetectionRule[], list: List): Prepared {
  const slots = new Map<string, number>();
  const slotOf = (field: string): number => {
    const known = slots.get(field) ?? slots.size;
    slots.set(field, known);
    return known;
  };
  // A match names the view, so the cache must know these even if no rule does.
  for (const field of ['Image', 'CommandLine', 'ParentImage', 'ParentCommandLine', 'User']) slotOf(field);
  const groups = groupsOf(rules, list);
  for (const { selection } of groups) for (const field of selection.fields) slotOf(field);
  const fields = [...slots.keys()];
  const candidates = new Uint8Array(rules.length);
  const always: number[] = [];
  const searched: Searched[] = [];
  const makers: (() => Condition)[] = [];
  for (const { selection, places } of groups) {
    const selected = new Selected(selection);
    for (const [number, rule] of places.entries()) {
      if (rule === -1) continue;
      makers[rule] = () =>
        compileCondition((rules[rule] as DetectionRule).expression, { slotOf, list, gates: selected.gatesOf(number) });
    }
    const mark = (number: number): void => {
      const rule = places[number] as number;
      if (candidates[rule] === 0) candidates[rule] = 1; // a rule that is not among these is no index
    };
    for (const number of selection.tables.always) if (places[number] !== -1) always.push(places[number] as number);
    for (const of of selected.literals.slots)
      searched.push({ slot: slotOf(selection.fields[of] as string), literals: selected.literals, of, mark });
  }
  const isAgain = ({ slot }: Searched) => isOfView(fields[slot] as string);
  const own = new Set(fields.filter((field) => !isOfView(field)));
  if (fields.some(isOfView))
    for (const field of ['Executable', 'CommandLine', 'CurrentDirectory', 'Image']) own.add(field);
  return {
    rules,
    conditions: new Array(rules.length).fill(undefined),
    compileRule: (rule) => (makers[rule] as () => Condition)(),
    fields,
    ofView: [...fields.keys()].filter((slot) => isOfView(fields[slot] as string)),
    searchedOnce: searched.filter((each) => !isAgain(each)),
    searchedAgain: searched.filter(isAgain),
    always,
    keyFields: [...own],
    hasKeywords: groups.some(({ selection }) => selection.hasKeywords === true),
    candidates,
    spent: new Float64Array(rules.length),
    hurried: new Uint8Array(rules.length),
    off: new Uint8Array(rules.length),
  };
}

/** Rules of one selection. */
interface Group {
  readonly selection: Selection;
  /** By number in the selection: its place among all rules; -1: it is none of them. */
  readonly places: Int32Array;
}

/** Shipped rules come with their selection; what selects the others is found here. */
function groupsOf(rules: readonly DetectionRule[], list: List): readonly Group[] {
  const made = new Map<Selection, Int32Array>();
  const others: number[] = [];
  for (const [place, { made: known }] of rules.entries()) {
    const places = known === undefined ? undefined : (made.get(known.selection) ?? noPlaces(known.selection));
    if (known === undefined || places === undefined || places[known.number] !== -1) others.push(place);
    else {
      places[known.number] = place;
      made.set(known.selection, places);
    }
  }
  const groups = [...made].map(([selection, places]): Group => ({ selection, places }));
  if (others.length === 0) return groups;
  const expressions = others.map((place) => (rules[place] as DetectionRule).expression);
  return [...groups, { selection: select(expressions, list), places: Int32Array.from(others) }];
}

const noPlaces = ({ tables }: Selection) => new Int32Array(tables.firstGates.length - 1).fill(-1);

/** What decides which rules match. Views follow from the fields, so that none need be made for what is known. */
function keyOf(subject: Subject, { keyFields, hasKeywords }: Prepared): string {
  const { source, fields, bounds = '' } = subject;
  let key = `${source} ${bounds}`;
  for (const name of keyFields) {
    const value = fields[name];
    key += value === undefined ? '-' : `${value.length}:${value}`; // no value can look like two, or like none
  }
  if (!hasKeywords) return key;
  for (const name of wordFields(subject)) {
    const value = fields[name] ?? '';
    key += `${name.length}:${name}${value.length}:${value}`;
  }
  return key;
}
