import type { Clock } from '../../core/base/clock.ts';
import { type CorrelationState, Correlations, LATEST_MS } from './engine/correlations.ts';
import { Engine } from './engine/engine.ts';
import type { Evaluation, Match } from './engine/evaluation.ts';
import type { DetectionRule, Expression, ParsedRule } from './sigma/rule.ts';
import type { Hit, LogSource, Subject, View } from './subject.ts';
import { UNSEEN, UNSEEN_FIELDS } from './subjects.ts';

/** Why a rule is off: a required list is empty, no event of this agent can match it, or it took too much time. */
export type OffReason = 'requires' | 'noEvent' | 'time';

export type Lists = Readonly<Record<string, readonly string[]>>;

export type TimeSource = Pick<Clock, 'now' | 'monotonic'>;

export interface DetectorState {
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly correlations: CorrelationState;
}

/** Ids of rules that no event of this agent can match. */
export function unseenOf(rules: readonly ParsedRule[]): ReadonlySet<string> {
  const unseen = new Set<string>();
  const isUnseen = (rule: ParsedRule): boolean => {
    const { sources } = rule.facts;
    if (sources.every((source) => UNSEEN.includes(source))) return true;
    if (rule.is === 'detection') return sources.every((source) => needs(rule, UNSEEN_FIELDS[source]));
    if (!['temporal', 'temporal_ordered'].includes(rule.correlation.type)) return false;
    return rule.correlation.wanted.length === 0 && rule.correlation.rules.some((id) => unseen.has(id));
  };
  // A correlation may come before one that it refers to.
  for (let known = -1; known !== unseen.size; ) {
    known = unseen.size;
    for (const rule of rules) if (isUnseen(rule)) unseen.add(rule.facts.id);
  }
  return unseen;
}

/** Whether a rule matches only events that have one of these fields. */
function needs(rule: DetectionRule, fields: readonly string[] = []): boolean {
  const isNeeded = (expression: Expression): boolean => {
    switch (expression.is) {
      case 'and':
        return expression.of.some(isNeeded);
      case 'or':
        return expression.of.every(isNeeded);
      case 'field':
        return fields.includes(expression.field) && (expression.test.is !== 'exists' || expression.test.exists);
      default:
        return false;
    }
  };
  return fields.length > 0 && isNeeded(rule.expression); // reading the expression of a shipped rule takes time
}

const viewOf = ([view]: readonly View[]) => (view === undefined ? {} : { view });

/** Evaluates rules: takes subjects, returns hits. */
export class Detector {
  readonly #rules: readonly ParsedRule[];
  readonly #lists: Lists;
  readonly #clock: TimeSource;
  readonly #engine: Engine;
  /** Ids of rules that a correlation refers to. */
  readonly #correlated: ReadonlySet<string>;
  readonly #unseen: ReadonlySet<string>;
  #correlations: Correlations;
  /** Time of the last event, by the kernel's clock and by the monotonic one. */
  #last = { time: Number.POSITIVE_INFINITY, at: 0 };
  readonly #newCorrelations: () => Correlations;

  /**
   * @param lists the entries of the twin's lists, keyed by name; a list that is empty or missing is not set
   * @param changed called when a correlation has new state that is worth saving
   */
  constructor({
    rules,
    lists = {},
    clock,
    changed = () => {},
  }: {
    readonly rules: readonly ParsedRule[];
    readonly lists?: Lists;
    readonly clock: TimeSource;
    readonly changed?: () => void;
  }) {
    this.#rules = rules;
    this.#lists = lists;
    this.#clock = clock;
    this.#unseen = unseenOf(rules);
    const list = (name: string) => (Object.hasOwn(lists, name) ? (lists[name] ?? []) : []);
    const on = rules.filter((rule) => this.#isSet(rule));
    const correlations = on.filter((rule) => rule.is === 'correlation');
    this.#correlated = new Set(correlations.flatMap(({ correlation }) => correlation.rules));
    this.#engine = new Engine({
      rules: on.filter((rule) => rule.is === 'detection'),
      correlated: this.#correlated,
      list,
      clock,
    });
    this.#newCorrelations = () => new Correlations(correlations, list, changed);
    this.#correlations = this.#newCorrelations();
  }

  /** Clears the state of correlations. */
  forget(): void {
    this.#correlations = this.#newCorrelations();
  }

  #isSet({ facts }: ParsedRule): boolean {
    return facts.requires.every((name) => Object.hasOwn(this.#lists, name) && (this.#lists[name]?.length ?? 0) > 0);
  }

  /** All rules, with the reason if a rule is off. */
  get rules(): readonly { readonly rule: ParsedRule; readonly off?: OffReason }[] {
    const tooSlow = this.#engine.switchedOff;
    return this.#rules.map((rule) => {
      if (this.#unseen.has(rule.facts.id)) return { rule, off: 'noEvent' };
      if (!this.#isSet(rule)) return { rule, off: 'requires' };
      return tooSlow.has(rule.facts.id) ? { rule, off: 'time' } : { rule };
    });
  }

  /** Number of views of events that a rule skipped because it had taken too much time. */
  get skippedViews(): number {
    return this.#engine.skippedViews;
  }

  /** Groups of correlations that were dropped for space while they could still have led to a hit. */
  get droppedGroups(): number {
    return this.#correlations.dropped;
  }

  evaluate(subject: Subject): Hit[] {
    return this.hitsOf(subject, this.match(subject).matches);
  }

  /** The detections that match, without correlations. */
  match(subject: Subject): Evaluation {
    return this.#engine.evaluate(subject);
  }

  /** Hits that result from the matches of a subject. Call this once for each subject, in chronological order. */
  hitsOf(subject: Subject, matches: readonly Match[]): Hit[] {
    const hits: Hit[] = [];
    for (const { rule, views, cut, selections } of matches) {
      const { facts } = rule;
      if (facts.alerts)
        hits.push({ rule: facts, subject, selections, ...viewOf(views), ...(cut ? { cut: true } : {}) });
      if (!this.#correlated.has(facts.id)) continue;
      const signal = { rule: facts, subject, views, selections };
      for (const { views: of, ...hit } of this.#correlations.take(signal, this.#monotonic(subject.time)))
        if (hit.rule.alerts) hits.push({ ...hit, ...viewOf(of) });
    }
    return hits;
  }

  /** Whether matches raise an alert without a correlation. */
  alerts(matches: readonly Match[]): boolean {
    return matches.some(({ rule: { facts } }) => facts.alerts);
  }

  /** Ids of matching rules that a correlation refers to. */
  correlated(matches: readonly Match[]): readonly string[] {
    return matches.map(({ rule: { facts } }) => facts.id).filter((id) => this.#correlated.has(id));
  }

  /**
   * Whether matches of these rules leave all correlations unchanged.
   *
   * @param rules ids of rules that a correlation refers to
   * @param time of the event, in milliseconds since the epoch
   */
  ignores(rules: readonly string[], time: number): boolean {
    let at: number | undefined;
    const when = (): number => {
      at ??= this.#monotonic(time);
      return at;
    };
    return rules.every((rule) => this.#correlations.ignores(rule, when));
  }

  /** Whether a detection reads this field of events from this source. */
  reads(source: LogSource, field: string): boolean {
    return this.#engine.reads(source, field);
  }

  /**
   * Time of the event on the monotonic clock, which is independent of steps of the wall clock. A delay can be due to such a step,
   * so it counts as at most 5 s. The order by the kernel's clock is kept: the wall clock has only whole milliseconds, and an event
   * read from a log can be more than 5 s late, followed by one that is not.
   */
  #monotonic(time: number): number {
    const late = Math.min(Math.max(this.#clock.now().getTime() - time, 0), LATEST_MS);
    let at = this.#clock.monotonic() - late;
    if (time >= this.#last.time) at = Math.max(at, this.#last.at);
    this.#last = { time, at };
    return at;
  }

  save(): DetectorState {
    return { at: this.#clock.now().getTime(), correlations: this.#correlations.save(this.#clock.monotonic()) };
  }

  /** Restores the state from `save`, for the same or other rules; damaged parts are skipped. */
  restore(state: unknown): void {
    if (typeof state !== 'object' || state === null) return;
    const { at, correlations } = state as Partial<DetectorState>;
    this.#correlations.restore(correlations, this.#clock.monotonic(), this.#clock.now().getTime() - Number(at));
  }
}
