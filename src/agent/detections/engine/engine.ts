import type { Clock } from '../../../core/base/clock.ts';
import { ownAutomata } from '../../pattern/pattern.ts';
import { isOfView, readField, wordFields, wordsOf } from '../read-field.ts';
import { MATCHED_RANGE } from '../sigma/modifiers.ts';
import type { DetectionRule } from '../sigma/rule.ts';
import type { LogSource, Subject, View } from '../subject.ts';
import type { List } from './compile.ts';
import { copyOfEvaluation, type Evaluation, type Match, sizeOfEvaluation } from './evaluation.ts';
import type { Literals } from './literals.ts';
import { MatchCache } from './match-cache.ts';
import { Row } from './row.ts';
import { type Condition, compileCondition, Selected, select } from './select.ts';
import type { Selection } from './selection.ts';

/**
 * Time budget of a rule per minute on the monotonic clock: a fixed part, and a small part per event, so that users cannot disable
 * rules by starting many programs. A rule of the operator that exceeds it is disabled. A shipped rule only skips long strings
 * until the minute ends, because a user who starts programs with slow arguments must not disable it.
 */
const BUDGET_MS = 50;
const BUDGET_OF_EVENT_MS = 0.01;
const WINDOW_MS = 60_000;
/**
 * Maximum charge per view, plus a charge per character. The worst input takes about this long; a process that was not scheduled
 * can take any time, which must not disable rules.
 */
const MAX_CHARGED_MS = 0.05;
const MAX_CHARGED_OF_CHARACTER_MS = 0.0006;
/** Additional charge per byte of rebuilt automata: the operator's rules may need more than their memory limit. */
const MAX_CHARGED_OF_BYTE_MS = 0.0001;

/** Total length of a view's own fields: inputs that take much time are longer. */
const SHORT_TEXT_CHARACTERS = 1_024;

/** Maximum number of selections in a match. */
const MAX_SELECTIONS = 4;

const NOTHING: Evaluation = { matches: [], isWhole: true };
const NO_VIEWS: readonly undefined[] = [undefined];

/** A match during the evaluation of views. */
interface ViewMatch extends Match {
  readonly views: View[];
}

/** A field that is searched for literals: its slot in the row, and in the selection. */
interface Searched {
  readonly slot: number;
  readonly literals: Literals;
  readonly of: number;
  /** Makes a rule of the selection a candidate. */
  readonly mark: (rule: number) => void;
}

/** All compiled rules for one log source. */
interface Prepared {
  readonly rules: readonly DetectionRule[];
  /** Compiled when a rule first becomes a candidate, which most never do. */
  readonly conditions: (Condition | undefined)[];
  readonly compileRule: (rule: number) => Condition;
  /** The fields that the rules read, by slot. */
  readonly fields: readonly string[];
  /** Slots of fields that differ between views. */
  readonly ofView: readonly number[];
  /** Fields with literals, in the event and in each view. */
  readonly searchedOnce: readonly Searched[];
  readonly searchedAgain: readonly Searched[];
  /** Rules without a literal, which are always candidates. */
  readonly always: readonly number[];
  /** Fields in the cache key, in addition to all fields that are searched for keywords. */
  readonly keyFields: readonly string[];
  readonly hasKeywords: boolean;
  /** State of each rule: 0 no candidate, 1 candidate, 2 already matched by an earlier view. */
  readonly candidates: Uint8Array;
  readonly spent: Float64Array;
  /** Rules that skip long strings until the minute ends. */
  readonly throttled: Uint8Array;
  readonly off: Uint8Array;
}

/** Finds the detections that match an event. Correlations are handled elsewhere. */
export class Engine {
  readonly #sources = new Map<LogSource, Prepared>();
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #cache = new MatchCache<Evaluation>({ sizeOf: sizeOfEvaluation, copy: copyOfEvaluation });
  readonly #row = new Row();
  readonly #switchedOff = new Set<string>();
  readonly #correlated: ReadonlySet<string>;
  #isWhole = true;
  #skippedViews = 0;
  #windowEnds = -Infinity;
  /** Events of the current minute that were not in the cache. */
  #evaluated = 0;

  /**
   * @param list the entries of a list in the twin; empty if it isn't set
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
    ownAutomata.empty(); // automata of replaced rules would displace others
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

  /** Number of views that a rule skipped because it had taken too much time. */
  get skippedViews(): number {
    return this.#skippedViews;
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
    this.#evaluated += 1;
    this.#isWhole = true;
    const matches = this.#match(subject, prepared);
    if (!this.#isWhole) return { matches, isWhole: false };
    const evaluation = matches.length === 0 ? NOTHING : { matches, isWhole: true };
    this.#cache.set(key, evaluation);
    return evaluation;
  }

  #match(subject: Subject, prepared: Prepared): readonly Match[] {
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
    const matches: ViewMatch[] = [];
    for (view of subject.views.length === 0 ? NO_VIEWS : subject.views) {
      row.forget(ofView);
      if (hasKeywords) row.all(true); // includes their length
      for (const { literals, of, slot, mark } of searchedAgain) literals.read(of, row.text(slot), mark);
      this.#try(prepared, view, matches);
    }
    return matches;
  }

  /** Evaluates the candidates on the row. A literal in one view keeps its rule a candidate for later views. */
  #try(prepared: Prepared, view: View | undefined, matches: ViewMatch[]): void {
    const { rules, conditions, compileRule, ofView, candidates, spent, throttled, off } = prepared;
    const row = this.#row;
    // Based on the view alone: a user could give all programs the same long command line of a parent.
    const isLong = (view === undefined ? row.length : row.lengthOf(ofView)) > SHORT_TEXT_CHARACTERS;
    const most =
      MAX_CHARGED_MS + Math.min(row.length, MATCHED_RANGE.head + MATCHED_RANGE.tail) * MAX_CHARGED_OF_CHARACTER_MS;
    let began = this.#clock.monotonic();
    for (let index = 0; index < candidates.length; index += 1) {
      if (candidates[index] !== 1 || off[index] === 1) continue;
      if (throttled[index] === 1 && isLong && began < this.#windowEnds) {
        this.#isWhole = false;
        this.#skippedViews += 1;
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
          const { cut } = row; // before the selections are evaluated again
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
      if (total <= BUDGET_MS + this.#evaluated * BUDGET_OF_EVENT_MS) continue;
      throttled[index] = 1;
      if (rule.facts.origin === 'builtin') continue;
      off[index] = 1;
      this.#switchedOff.add(rule.facts.id);
      this.#cache.clear();
    }
  }

  #beginWindow(now: number): void {
    this.#windowEnds = now + WINDOW_MS;
    this.#evaluated = 0;
    for (const { spent, throttled } of this.#sources.values()) {
      spent.fill(0);
      throttled.fill(0);
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
  // A match includes the view, so the cache key needs these fields even if no rule reads them.
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
      if (candidates[rule] === 0) candidates[rule] = 1; // a rule that is not among these has no index
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
    throttled: new Uint8Array(rules.length),
    off: new Uint8Array(rules.length),
  };
}

/** Rules with the same selection. */
interface Group {
  readonly selection: Selection;
  /** Index among all rules, keyed by number in the selection; -1 if the rule is not loaded. */
  readonly places: Int32Array;
}

/** Shipped rules come with their selection; it is computed for all others. */
function groupsOf(rules: readonly DetectionRule[], list: List): readonly Group[] {
  const made = new Map<Selection, Int32Array>();
  const unselected: number[] = [];
  for (const [place, { made: known }] of rules.entries()) {
    const places = known === undefined ? undefined : (made.get(known.selection) ?? noPlaces(known.selection));
    if (known === undefined || places === undefined || places[known.number] !== -1) unselected.push(place);
    else {
      places[known.number] = place;
      made.set(known.selection, places);
    }
  }
  const groups = [...made].map(([selection, places]): Group => ({ selection, places }));
  if (unselected.length === 0) return groups;
  const expressions = unselected.map((place) => (rules[place] as DetectionRule).expression);
  return [...groups, { selection: select(expressions, list), places: Int32Array.from(unselected) }];
}

const noPlaces = ({ tables }: Selection) => new Int32Array(tables.firstGates.length - 1).fill(-1);

/** Everything that decides which rules match. Views follow from the fields, so none are made for known starts. */
function keyOf(subject: Subject, { keyFields, hasKeywords }: Prepared): string {
  const { source, fields, bounds = '' } = subject;
  let key = `${source} ${bounds}`;
  for (const name of keyFields) {
    const value = fields[name];
    key += value === undefined ? '-' : `${value.length}:${value}`; // no value can look like two values, or like a missing one
  }
  if (!hasKeywords) return key;
  for (const name of wordFields(subject)) {
    const value = fields[name] ?? '';
    key += `${name.length}:${name}${value.length}:${value}`;
  }
  return key;
}
