import { randomInt } from 'node:crypto';
import { days, minutes, parseDuration, seconds } from '../../../core/base/duration.ts';
import { copied, isPlainObject } from '../../../core/base/values.ts';
import { readField } from '../read-field.ts';
import type { Correlation, CorrelationRule } from '../sigma/rule.ts';
import type { HitEvent, LogSource, Rule, Subject, View } from '../subject.ts';
import { COMPARE } from './compile.ts';

/* Correlations: for each rule and group, the latest matches of the rules it refers to.
 *
 * Invariants: the matches of a group are in chronological order; none is older than the timespan before the newest one; there
 * are at most MAX_ENTRIES, or one more than the number of requested values. An event that is read again after kill -9 counts
 * once. All groups together take at most MAX_BYTES, roughly counted: the least recently used group is dropped first, and is
 * counted.
 */

/** Matches, or periods with their count, that a group stores; as many as the condition requires if it counts values. */
const MAX_ENTRIES = 64;
/** Maximum number of groups of a rule. */
const MAX_GROUPS = 512;
const MAX_BYTES = 1_048_576;
const BYTES_OF_ENTRY = 80;
const BYTES_OF_GROUP = 200;
/** The state of shorter windows may be lost by kill -9: it is saved at most once a minute. */
const UNSAVED_WINDOW = minutes(1);
/** Maximum delay of an event relative to rest. */
export const LATEST_MS = 5_000;
/** Maximum number of event ids in a hit. */
const MAX_IDS = 16;
/** In UTF-16 units: the command line or address of an event, for the evidence. It is not saved across restarts. */
const LONGEST_SUMMARY = 384;

interface Entry {
  /** Milliseconds on the monotonic clock. */
  at: number;
  /** Which of the correlation's rules matched. */
  readonly rule: number;
  /** Hash of the counted value, or 0. */
  readonly hash: number;
  /** Number of matches that this entry represents. */
  count: number;
  readonly id: string;
  /** Id of the last event in this entry: its matches of several rules have the same id. 0 for events before a restart. */
  event: number;
  readonly source: LogSource;
  /** The command line or address of the event; empty after a restart. */
  readonly summary: string;
}

interface Group {
  entries: Entry[];
  /** Whether it caused a hit since the window last had no entry with which a hit could start. */
  fired: boolean;
}

/** A match before any match of the first rule, which may be late. */
interface Early {
  readonly key: string;
  readonly entry: Entry;
}

/** Input of a correlation: a match of one of its rules. */
export interface Signal {
  readonly rule: Rule;
  readonly subject: Subject;
  /** The matching views; each group is fed once. */
  readonly views: readonly View[];
  /** Names of the selections that matched. */
  readonly selections: readonly string[];
}

export interface CorrelationHit extends Signal {
  readonly count: number;
  readonly ids: readonly string[];
  /** Time of the first event, in milliseconds since the epoch. */
  readonly since: number;
  readonly group: readonly { readonly name: string; readonly value: string }[];
  readonly events: readonly HitEvent[];
  /** Lets the groups of this hit cause a hit again. */
  readonly rearm: () => void;
}

interface Result {
  readonly group: Group;
  /** Whether the condition was false since the window last had no entry with which a hit could start. */
  readonly isNew: boolean;
  readonly found: Pick<CorrelationHit, 'count' | 'ids' | 'since' | 'group' | 'events'>;
  readonly view: View | undefined;
}

/** State that is saved across restarts. */
export interface CorrelationState {
  readonly seed: number;
  readonly rules: Readonly<Record<string, SavedWindow>>;
}
interface SavedWindow {
  /** Definition of the correlation when its state was saved: the state is meaningless for another correlation with the same id. */
  readonly of: string;
  readonly groups: readonly SavedGroup[];
}
interface SavedGroup {
  readonly key: string;
  readonly fired: boolean;
  /** Age in milliseconds at the time of saving, rule, hash, count, id. */
  readonly entries: readonly (readonly [number, number, number, number, string])[];
}

export class Correlations {
  readonly #windows: readonly Window[];
  /** Windows fed by a rule, keyed by rule id. */
  readonly #fed = new Map<string, { readonly window: Window; readonly rule: number }[]>();
  readonly #budget = { bytes: 0, dropped: 0 };
  #event = 0;
  #subject: Subject | undefined;
  #seed = randomInt(2 ** 31);

  /**
   * @param list the entries of a list in the twin; used for lists that limit a correlation
   * @param changed called when a window has new state that is worth saving on its own
   */
  constructor(
    rules: readonly CorrelationRule[],
    list: (name: string) => readonly string[],
    changed: () => void = () => {},
  ) {
    this.#windows = rules.map(({ facts, correlation }) => {
      const inForce = limited(correlation, list);
      return new Window(facts, inForce, this.#budget, inForce.timespanMs > UNSAVED_WINDOW ? changed : () => {});
    });
    for (const window of this.#windows) {
      for (const [rule, id] of window.correlation.rules.entries())
        this.#fed.set(id, [...(this.#fed.get(id) ?? []), { window, rule }]);
    }
  }

  /** Number of groups that were dropped for space while their window was not empty. */
  get dropped(): number {
    return this.#budget.dropped;
  }

  /** @param at time of the event on the monotonic clock, in milliseconds @returns hits in order, inner ones first */
  take(signal: Signal, at: number): CorrelationHit[] {
    if (signal.subject !== this.#subject) this.#event += 1;
    this.#subject = signal.subject;
    const hits: CorrelationHit[] = [];
    for (const { window, rule } of this.#fed.get(signal.rule.id) ?? []) {
      let isReported = false;
      const results = window.take(signal, { rule, at, event: this.#event, seed: this.#seed });
      const rearm = () => {
        for (const { group, isNew } of results) if (isNew) group.fired = false;
      };
      for (const result of results) {
        const views = result.view === undefined ? [] : [result.view];
        const { subject, selections } = signal;
        const hit = { rule: window.facts, subject, views, selections, ...result.found, rearm };
        if (result.isNew && !isReported) hits.push(hit);
        isReported ||= result.isNew;
        // An outer correlation is fed each time that the inner one holds, which may continue long after its hit.
        hits.push(...this.take(hit, at));
      }
    }
    this.#keepBudget(at);
    return hits;
  }

  /**
   * Whether a match of a rule would change nothing.
   *
   * @param at time on the monotonic clock, in milliseconds; called only if a sequence has started, because reading clocks
   * costs more than everything else
   */
  ignores(rule: string, at: () => number): boolean {
    return (this.#fed.get(rule) ?? []).every(({ window, rule: index }) => window.ignores(index, at));
  }

  #keepBudget(at: number): void {
    while (this.#budget.bytes > MAX_BYTES) {
      const [largest] = [...this.#windows].sort((a, b) => b.bytes - a.bytes);
      if (largest === undefined || !largest.dropOldest(at)) return;
    }
  }

  /** @param now on the monotonic clock */
  save(now: number): CorrelationState {
    const rules: Record<string, SavedWindow> = {};
    for (const window of this.#windows) {
      const groups = window.save(now);
      if (groups.length > 0) rules[window.facts.id] = { of: window.identity, groups };
    }
    return { seed: this.#seed, rules };
  }

  /**
   * Restores saved state; damaged parts, and those of another correlation with the same id, are skipped.
   *
   * @param elapsedMs wall-clock time between saving and now; counts as 0 if the clock was set back
   */
  restore(state: unknown, now: number, elapsedMs: number): void {
    if (!isPlainObject(state) || !Number.isSafeInteger(state.seed) || !isPlainObject(state.rules)) return;
    this.#seed = Number(state.seed);
    const elapsed = Number.isFinite(elapsedMs) ? Math.max(0, elapsedMs) : 0;
    for (const window of this.#windows) {
      const saved = Object.hasOwn(state.rules, window.facts.id) ? state.rules[window.facts.id] : undefined;
      if (isWindow(saved) && saved.of === window.identity) window.restore(saved.groups, now, elapsed);
    }
    this.#keepBudget(now);
  }
}

const isWindow = (value: unknown): value is { readonly of: string; readonly groups: readonly unknown[] } =>
  isPlainObject(value) && typeof value.of === 'string' && Array.isArray(value.groups);

const isGroup = (value: unknown): value is SavedGroup =>
  isPlainObject(value) &&
  typeof value.key === 'string' &&
  typeof value.fired === 'boolean' &&
  Array.isArray(value.entries) &&
  value.entries.every(
    (entry) =>
      Array.isArray(entry) &&
      entry.length === 5 &&
      entry.every((part, at) => (at === 4 ? typeof part === 'string' : Number.isFinite(part))),
  );

/** `100`, or `100/PT5M`: overrides the rule's values. */
function limited(correlation: Correlation, list: (name: string) => readonly string[]): Correlation {
  if (correlation.limit === undefined) return correlation;
  const [count = '', duration] = (list(correlation.limit)[0] ?? '').split('/');
  if (!/^\d{1,7}$/.test(count)) return correlation;
  const timespanMs = duration === undefined ? correlation.timespanMs : parseDuration(duration, seconds(1), days(1));
  if (timespanMs === undefined) return correlation;
  return { ...correlation, wanted: [{ compare: 'gt', than: Number(count) }], timespanMs };
}

class Window {
  readonly facts: Rule;
  readonly correlation: Correlation;
  readonly #budget: { bytes: number; dropped: number };
  readonly #changed: () => void;
  /** Least recently used first. */
  readonly #groups = new Map<string, Group>();
  /** Above MAX_ENTRIES events, those within this period share an entry. */
  readonly #grainMs: number;
  readonly #most: number;
  readonly #mostOfRule: number;
  /** Whether a hit needs a match of the first rule before all rest. */
  readonly #beginsWithFirst: boolean;
  /** Time of the last match of the first rule, in milliseconds on the monotonic clock. */
  #begun = -Infinity;
  /** In order of arrival; none is older than LATEST_MS. */
  #early: Early[] = [];
  bytes = 0;

  constructor(facts: Rule, correlation: Correlation, budget: { bytes: number; dropped: number }, changed: () => void) {
    this.#changed = changed;
    this.facts = facts;
    this.correlation = correlation;
    this.#budget = budget;
    const most = Math.max(0, ...correlation.wanted.map(({ than }) => than));
    const counts = correlation.type === 'event_count';
    this.#grainMs = counts && most >= MAX_ENTRIES ? correlation.timespanMs / (MAX_ENTRIES - 1) : 0;
    this.#most = correlation.type === 'value_count' ? Math.max(MAX_ENTRIES, most + 1) : MAX_ENTRIES;
    this.#mostOfRule =
      correlation.type === 'temporal_ordered' ? Math.floor(MAX_ENTRIES / correlation.rules.length) : this.#most;
    this.#beginsWithFirst =
      correlation.type === 'temporal_ordered' && !correlation.rules.some((_, count) => count > 0 && this.#holds(count));
  }

  /** Equal strings for equal definitions of entries and group keys. Number and timespan may change. */
  get identity(): string {
    const { type, rules, groupBy, field } = this.correlation;
    return JSON.stringify([type, rules, groupBy, field]);
  }

  /**
   * Whether there is nothing that a match of this rule could continue. Only sequences depend on the order. If their rules refer to
   * different events, a match of the first rule may still arrive; events of one kind arrive in order.
   */
  ignores(rule: number, at: () => number): boolean {
    if (!this.#beginsWithFirst || rule === 0 || this.facts.sources.length > 1) return false;
    return this.#begun === -Infinity || at() - this.#begun > this.correlation.timespanMs;
  }

  /** @returns a result for each group in which the correlation currently holds */
  take(signal: Signal, { rule, at, event, seed }: { rule: number; at: number; event: number; seed: number }): Result[] {
    const { type, field } = this.correlation;
    const results: Result[] = [];
    const fed = new Set<string>();
    for (const view of signal.views.length === 0 ? [undefined] : signal.views) {
      const key = this.#keyOf(signal, view);
      const value = type === 'value_count' ? readField(signal.subject, view, field ?? '') : '';
      if (key === undefined || value === undefined || fed.has(key)) continue;
      fed.add(key);
      const hash = type === 'value_count' ? hashOf(value, seed) : 0;
      const { event: happened, source, time } = signal.subject;
      const summary = summaryOf(signal.subject, view);
      const entry = { at, rule, hash, count: 1, id: happened.ids[0] ?? '', event, source, summary };
      const result = this.#feed(key, entry);
      if (result === undefined) continue;
      const { count, entries, ...rest } = result;
      const ids = [...new Set(entries.map(({ id }) => id).filter((id) => id !== ''))].slice(-MAX_IDS);
      const since = time - Math.max(0, at - (entries[0]?.at ?? at));
      results.push({ ...rest, found: { count, ids, since, group: this.#groupOf(key), events: entries }, view });
    }
    return results;
  }

  #feed(key: string, added: Entry) {
    const { timespanMs } = this.correlation;
    const { at, rule } = added;
    let group = this.#groups.get(key);
    if (group === undefined) {
      if (this.#beginsWithFirst && rule > 0) {
        this.#keepEarly({ key, entry: added });
        return undefined; // no earlier match
      }
      group = { entries: [], fired: false };
      this.#grow(BYTES_OF_GROUP + key.length * 2);
    } else this.#groups.delete(key);
    this.#groups.set(key, group);
    if (rule === 0) this.#begun = Math.max(this.#begun, at);
    const before = bytesOfEntries(group.entries);
    const newest = Math.max(at, group.entries.at(-1)?.at ?? at);
    group.entries = group.entries.filter((entry) => newest - entry.at <= timespanMs);
    if (!group.entries.some((entry) => !this.#beginsWithFirst || entry.rule === 0)) group.fired = false;
    if (newest - at <= timespanMs) this.#add(group.entries, added);
    if (rule === 0) for (const entry of this.#takeEarly(key, added)) this.#add(group.entries, entry);
    this.#grow(bytesOfEntries(group.entries) - before);
    if (this.#groups.size > MAX_GROUPS) this.dropOldest(at);
    const count = this.#count(group.entries);
    if (count === undefined) return undefined;
    const isNew = !group.fired;
    group.fired = true;
    return { group, isNew, count, entries: group.entries.slice() };
  }

  /** The values of the key, keyed by field; empty ones are omitted. */
  #groupOf(key: string): readonly { readonly name: string; readonly value: string }[] {
    const values = key.split('\0');
    const all = this.correlation.groupBy.map(({ name }, index) => ({ name, value: values[index] ?? '' }));
    return all.filter(({ name, value }) => name !== 'Device' && value !== '');
  }

  #keepEarly(early: Early): void {
    this.#dropEarly(({ entry }) => early.entry.at - entry.at > LATEST_MS);
    this.#early.push(early);
    this.#grow(bytesOf(early));
    const [first] = this.#early;
    if (this.#early.length > MAX_ENTRIES) this.#dropEarly((each) => each === first);
  }

  /** Matches of a group that arrived before one of the first rule but happened later, or belong to the same event. */
  #takeEarly(key: string, { at, event }: Entry): readonly Entry[] {
    if (this.#early.length === 0) return [];
    const taken = this.#early.filter(({ key: of, entry }) => of === key && (entry.at > at || entry.event === event));
    this.#dropEarly((each) => taken.includes(each));
    return taken.map(({ entry }) => entry);
  }

  #dropEarly(isDropped: (early: Early) => boolean): void {
    for (const early of this.#early) if (isDropped(early)) this.#grow(-bytesOf(early));
    this.#early = this.#early.filter((early) => !isDropped(early));
  }

  /** In chronological order; a late match is inserted. An event that matches several rules is inserted for each of them. */
  #add(entries: Entry[], entry: Entry): void {
    const { type } = this.correlation;
    if (type === 'event_count' && entries.some((other) => isOfSameEvent(other, entry))) return;
    this.#changed();
    if (type === 'value_count' || type === 'temporal') {
      // Only the latest match of each value, or of each rule, can matter.
      const same = entries.findIndex(({ hash, rule }) =>
        type === 'temporal' ? rule === entry.rule : hash === entry.hash,
      );
      if (same !== -1) {
        if ((entries[same]?.at ?? 0) >= entry.at) return;
        entries.splice(same, 1);
      }
    }
    let place = entries.length;
    while (place > 0 && isAfter(entries[place - 1] as Entry, entry)) place -= 1;
    const previous = entries[place - 1];
    if (this.#grainMs > 0 && previous !== undefined && entry.at - previous.at < this.#grainMs) {
      previous.count += 1;
      previous.event = entry.event;
      return;
    }
    entries.splice(place, 0, entry);
    // In a sequence, many matches of one rule must not displace those of other rules.
    const rivals = type === 'temporal_ordered' ? entries.filter(({ rule }) => rule === entry.rule) : entries;
    if (rivals.length <= this.#mostOfRule) return;
    const dropped = (type === 'temporal_ordered' ? repeated(entries, entry.rule) : undefined) ?? rivals[0];
    if (dropped !== undefined) entries.splice(entries.indexOf(dropped), 1);
  }

  /** Number of matches, if the correlation counts them. */
  #count(entries: readonly Entry[]): number | undefined {
    const count = this.#numberOf(entries);
    return this.#holds(count) ? count : undefined;
  }

  #holds(count: number): boolean {
    const { rules, wanted } = this.correlation;
    if (wanted.length === 0) return count === rules.length;
    return wanted.every(({ compare, than }) => COMPARE[compare](count, than));
  }

  /** Number of events, of values, of different rules, or of rules that matched in order. */
  #numberOf(entries: readonly Entry[]): number {
    const { type, rules } = this.correlation;
    if (type === 'event_count') return entries.reduce((sum, entry) => sum + entry.count, 0);
    if (type === 'value_count') return entries.length;
    if (type === 'temporal') return new Set(entries.map(({ rule }) => rule)).size;
    // Length of the longest sequence that ends with a rule, keyed by rule.
    const longest: number[] = new Array(rules.length).fill(0);
    for (const { rule } of entries) longest[rule] = 1 + Math.max(0, ...longest.slice(0, rule));
    return Math.max(...longest);
  }

  /** `undefined` if the event has none of the fields. */
  #keyOf({ rule, subject }: Signal, view: View | undefined): string | undefined {
    const { groupBy } = this.correlation;
    if (groupBy.length === 0) return '';
    let key = '';
    let isKnown = false;
    for (const { name, of } of groupBy) {
      // Hits of a correlation have the fields of their last event.
      const value =
        name === 'Device'
          ? 'this'
          : readField(subject, view, Object.hasOwn(of, rule.id) ? (of[rule.id] ?? name) : name);
      if (value !== undefined) isKnown = true;
      key += `${value?.slice(0, 1_024) ?? ''}\0`;
    }
    return isKnown ? key : undefined;
  }

  #grow(bytes: number): void {
    this.bytes += bytes;
    this.#budget.bytes += bytes;
  }

  /** @param at now @returns whether a group was dropped */
  dropOldest(at: number): boolean {
    const [first] = this.#groups;
    if (first === undefined) {
      const some = this.#early.length > 0;
      this.#dropEarly(() => true);
      return some;
    }
    const [key, { entries }] = first;
    this.#groups.delete(key);
    this.#grow(-(BYTES_OF_GROUP + key.length * 2 + bytesOfEntries(entries)));
    const last = entries.at(-1)?.at ?? Number.NEGATIVE_INFINITY;
    if (at - last <= this.correlation.timespanMs) this.#budget.dropped += 1;
    return true;
  }

  save(now: number): readonly SavedGroup[] {
    const saved: SavedGroup[] = [];
    for (const [key, { entries, fired }] of this.#groups) {
      const young = entries.filter(({ at }) => now - at <= this.correlation.timespanMs);
      if (young.length === 0) continue;
      saved.push({
        key,
        fired,
        entries: young.map(({ at, rule, hash, count, id }) => [Math.round(now - at), rule, hash, count, id]),
      });
    }
    return saved;
  }

  restore(groups: readonly unknown[], now: number, elapsedMs: number): void {
    for (const { key, fired, entries } of groups.slice(-MAX_GROUPS).filter(isGroup)) {
      const restored = entries.slice(-this.#most).map(([age, rule, hash, count, id]) => {
        const unknown = { event: 0, source: this.facts.sources[0] ?? 'agent', summary: '' } as const;
        return { at: now - elapsedMs - age, rule, hash, count, id, ...unknown };
      });
      this.#groups.set(key, { entries: restored, fired });
      for (const { at, rule } of restored) if (rule === 0) this.#begun = Math.max(this.#begun, at);
      this.#grow(BYTES_OF_GROUP + key.length * 2 + restored.length * BYTES_OF_ENTRY);
    }
  }
}

const bytesOf = ({ key, entry }: Early): number => BYTES_OF_GROUP + key.length * 2 + entry.summary.length;

const bytesOfEntries = (entries: readonly Entry[]): number =>
  entries.reduce((sum, { summary }) => sum + BYTES_OF_ENTRY + summary.length, 0);

/** The evidence of an event. */
function summaryOf(subject: Subject, view: View | undefined): string {
  const { source, fields } = subject;
  const { RemoteAddress, RemotePort, LocalPort, Direction, UserName = '' } = fields;
  if (source === 'process_creation')
    return copied((view?.CommandLine ?? fields.CommandLine ?? '').slice(0, LONGEST_SUMMARY));
  if (source === 'login') return (RemoteAddress ?? UserName).slice(0, LONGEST_SUMMARY);
  if (source !== 'network_connection') return '';
  return `${RemoteAddress ?? '?'} ${(Direction === 'Out' ? RemotePort : LocalPort) ?? ''}`.slice(0, LONGEST_SUMMARY);
}

/**
 * The oldest match that is directly followed by another match of the same rule: in any series, the later one can replace it. The
 * oldest match of all could be the only one before matches of other rules.
 */
const repeated = (entries: readonly Entry[], rule: number): Entry | undefined =>
  entries.find((entry, at) => entry.rule === rule && entries[at + 1]?.rule === rule);

/** Whether two entries are the same event, which may be read again and have no id. */
const isOfSameEvent = (one: Entry, other: Entry): boolean =>
  one.event === other.event || (one.id !== '' && one.id === other.id);

const isAfter = (one: Entry, other: Entry): boolean =>
  one.at > other.at || (one.event === other.event && one.rule > other.rule);

/** FNV-1a with a seed, so that users cannot choose values with the same hash. */
function hashOf(value: string, seed: number): number {
  let hash = seed ^ 0x811c9dc5;
  for (let at = 0; at < value.length; at += 1) hash = Math.imul(hash ^ value.charCodeAt(at), 0x01000193);
  return hash >>> 0;
}
