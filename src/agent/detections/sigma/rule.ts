import type { IpNetwork } from '../../../core/contract/ip-network.ts';
import type { Pattern } from '../../pattern/pattern.ts';
import type { Selection } from '../engine/selection.ts';
import type { Rule } from '../subject.ts';

/** What a document says, read: an expression over fields. */
export type Expression = Form & {
  /** The name of the selection that this is, in the condition of a detection. */
  readonly selection?: string;
};

type Form =
  | { readonly is: 'and' | 'or'; readonly of: readonly Expression[] }
  | { readonly is: 'not'; readonly of: Expression }
  | { readonly is: 'field'; readonly field: string; readonly test: Test }
  /** Any field. */
  | { readonly is: 'keyword'; readonly test: TextTest };

export type Place = 'is' | 'contains' | 'begins' | 'ends';

/** A text with wildcards: null stands for any text, `1` for any character. */
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
  /** Any entry of a list, each read as the value would be; the list is known when rules are made ready only. */
  | { readonly is: 'list'; readonly list: string; readonly read: (entry: string) => Test | undefined };

export interface DetectionRule {
  readonly is: 'detection';
  readonly facts: Rule;
  readonly expression: Expression;
  /** What selects it, if that was made before. */
  readonly made?: MadeSelection;
}

export interface MadeSelection {
  readonly selection: Selection;
  /** Of the rule. */
  readonly number: number;
}

export interface Correlation {
  readonly type: 'event_count' | 'value_count' | 'temporal' | 'temporal_ordered';
  /** Ids of rules, detections or correlations. */
  readonly rules: readonly string[];
  /** Fields whose values tell groups apart: by rule id, if it has another name there. */
  readonly groupBy: readonly { readonly name: string; readonly of: Readonly<Record<string, string>> }[];
  readonly timespanMs: number;
  /** How many events, values or different rules are asked for; empty: all rules. */
  readonly wanted: readonly { readonly compare: 'lt' | 'lte' | 'gt' | 'gte' | 'eq' | 'neq'; readonly than: number }[];
  /** Of value_count: whose values are counted. */
  readonly field?: string;
  /** A list whose first entry replaces the number and the timespan: `100`, or `100/PT5M`. */
  readonly limit?: string;
}

export interface CorrelationRule {
  readonly is: 'correlation';
  readonly facts: Rule;
  readonly correlation: Correlation;
}

export type ParsedRule = DetectionRule | CorrelationRule;

/** What is wrong with a document: it is refused. */
export interface Fault {
  readonly file: string;
  /** Counted from 1. */
  readonly line?: number;
  readonly reason: string;
}

/** A document of a rule file, parsed, and where its members are. */
export interface Document {
  readonly file: string;
  readonly origin: 'builtin' | 'local';
  readonly value: unknown;
  /**
   * Literals of its expressions, if it was compiled before; `later`: it is known to be right, and its detection is read when
   * that is first needed.
   */
  readonly literals?: ReadonlyMap<string, readonly string[] | undefined> | 'later';
  /** What selects its rule, if that was made before. */
  readonly made?: MadeSelection;
  /** The line of a member, by the keys that lead to it; of the nearest one that is known. */
  readonly lineOf: (path: readonly (string | number)[]) => number | undefined;
}

type Path = readonly (string | number)[];

/** What is wrong, and where in the document. */
export class Refused extends Error {
  readonly path: Path;
  /** What is wrong besides. */
  readonly others: readonly Refused[];

  constructor(reason: string, path: Path = [], others: readonly Refused[] = []) {
    super(reason);
    this.path = path;
    this.others = others;
  }

  /** This, and all that is wrong besides. */
  get all(): readonly Refused[] {
    return [this, ...this.others];
  }

  /** The same, of a member at this path. */
  under(path: Path): Refused {
    const others = this.others.map((other) => other.under(path));
    return new Refused(this.message, [...path, ...this.path], others);
  }
}

/** Of a document, and of a file that is no YAML; who wrote it corrects these first. */
export const MAX_FAULTS = 50;

/** Goes on after a fault, so that all of them are told together. */
export class Refusals {
  readonly #all: Refused[] = [];

  /** @returns `undefined` if it was refused */
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

  /** @throws {Refused} if anything was refused */
  end(): void {
    const [first, ...others] = this.#all;
    if (first !== undefined) throw new Refused(first.message, first.path, others.slice(0, MAX_FAULTS - 1));
  }
}

/** What all of these return. @throws {Refused} for all that refuse */
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
