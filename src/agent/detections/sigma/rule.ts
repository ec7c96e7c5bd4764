import type { IpNetwork } from '../../../core/contract/ip-network.ts';
import type { Pattern } from '../../pattern/pattern.ts';
import type { Selection } from '../engine/selection.ts';
import type { Rule } from '../subject.ts';

/** The parsed content of a document: an expression over fields. */
export type Expression = Form & {
  /** The name of this selection in the condition of a detection. */
  readonly selection?: string;
};

type Form =
  | { readonly is: 'and' | 'or'; readonly of: readonly Expression[] }
  | { readonly is: 'not'; readonly of: Expression }
  | { readonly is: 'field'; readonly field: string; readonly test: Test }
  /** Any field. */
  | { readonly is: 'keyword'; readonly test: TextTest };

export type Place = 'is' | 'contains' | 'begins' | 'ends';

/** A string with wildcards: null stands for any text, `1` for any character. */
export type Wildcards = readonly (string | null | 1)[];

export type TextTest =
  | { readonly is: 'text'; readonly place: Place; readonly text: string; readonly cased: boolean }
  | { readonly is: 'wildcards'; readonly parts: Wildcards; readonly cased: boolean };

export type Test =
  | TextTest
  | { readonly is: 'pattern'; readonly pattern: Pattern; readonly source: string; readonly key: string }
  | { readonly is: 'network'; readonly network: IpNetwork }
  | { readonly is: 'exists'; readonly exists: boolean }
  | { readonly is: 'number'; readonly compare: 'lt' | 'lte' | 'gt' | 'gte'; readonly than: number }
  | { readonly is: 'field'; readonly other: string; readonly place: Place; readonly cased: boolean }
  /** Any entry of a list, each read like a value of the rule; the list is known only when rules are compiled. */
  | { readonly is: 'list'; readonly list: string; readonly read: (entry: string) => Test | undefined };

export interface DetectionRule {
  readonly is: 'detection';
  readonly facts: Rule;
  readonly expression: Expression;
  /** The precomputed selection. */
  readonly made?: MadeSelection;
}

export interface MadeSelection {
  readonly selection: Selection;
  /** Metadata of the rule. */
  readonly number: number;
}

export interface Correlation {
  readonly type: 'event_count' | 'value_count' | 'temporal' | 'temporal_ordered';
  /** Ids of rules, detections or correlations. */
  readonly rules: readonly string[];
  /** Fields whose values identify a group, keyed by rule id if they have another name there. */
  readonly groupBy: readonly { readonly name: string; readonly of: Readonly<Record<string, string>> }[];
  readonly timespanMs: number;
  /** Required number of events, values or different rules; empty for all rules. */
  readonly wanted: readonly { readonly compare: 'lt' | 'lte' | 'gt' | 'gte' | 'eq' | 'neq'; readonly than: number }[];
  /** For value_count: the field whose values are counted. */
  readonly field?: string;
  /** A list whose first entry overrides the number and the timespan: `100`, or `100/PT5M`. */
  readonly limit?: string;
}

export interface CorrelationRule {
  readonly is: 'correlation';
  readonly facts: Rule;
  readonly correlation: Correlation;
}

export type ParsedRule = DetectionRule | CorrelationRule;

/** An error in a document, which is then rejected. */
export interface Fault {
  readonly file: string;
  /** Counted from 1. */
  readonly line?: number;
  readonly reason: string;
}

/** A parsed document of a rule file, with the lines of its members. */
export interface Document {
  readonly file: string;
  readonly origin: 'builtin' | 'local';
  readonly value: unknown;
  /**
   * Literals of its expressions, if it was compiled before; `later`: it is known to be valid, and its detection is read on
   * demand.
   */
  readonly literals?: ReadonlyMap<string, readonly string[] | undefined> | 'later';
  /** The precomputed selection of its rule. */
  readonly made?: MadeSelection;
  /** The line of a member, by the keys that lead to it; otherwise of the nearest known member. */
  readonly lineOf: (path: readonly (string | number)[]) => number | undefined;
}

type Path = readonly (string | number)[];

/** An error, and its place in the document. */
export class Refused extends Error {
  readonly path: Path;
  /** Further errors. */
  readonly further: readonly Refused[];

  constructor(reason: string, path: Path = [], further: readonly Refused[] = []) {
    super(reason);
    this.path = path;
    this.further = further;
  }

  /** This error and all further ones. */
  get all(): readonly Refused[] {
    return [this, ...this.further];
  }

  /** The same error for a member at this path. */
  under(path: Path): Refused {
    const further = this.further.map((each) => each.under(path));
    return new Refused(this.message, [...path, ...this.path], further);
  }
}

/** Severe errors of a document or a file, which the author corrects first. */
export const MAX_FAULTS = 50;

/** Continues after an error, so that all errors are reported together. */
export class Refusals {
  readonly #all: Refused[] = [];

  /** @returns `undefined` if it was rejected */
  attempt<T>(read: () => T): T | undefined {
    if (this.#all.length >= MAX_FAULTS) return undefined;
    try {
      return read();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.#all.push(...error.all);
      return undefined;
    }
  }

  /** @throws {Refused} if anything was rejected */
  end(): void {
    const [first, ...further] = this.#all;
    if (first !== undefined) throw new Refused(first.message, first.path, further.slice(0, MAX_FAULTS - 1));
  }
}

/** The results of all of these. @throws {Refused} with all errors */
export function together<T>(of: readonly (() => T)[]): T[] {
  const refusals = new Refusals();
  const results = of.map((read) => refusals.attempt(read));
  refusals.end();
  return results as T[];
}

/** @throws {Refused} with this path before its own */
export function within<T>(path: Path, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw error instanceof Refused ? error.under(path) : error;
  }
}
