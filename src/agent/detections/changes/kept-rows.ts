import { createHash } from 'node:crypto';
import type { Fields } from '../subject.ts';

/** Work that can be interrupted at each `yield`, so that large snapshots do not block the event loop. */
export type Sliced<T> = Generator<undefined, T>;

/** Rows between two interruption points: well below a millisecond. */
const SLICE = 64;

/** Whether the work can be interrupted before this row, counted from 0. */
export const isSlice = (row: number): boolean => row % SLICE === SLICE - 1;

/** Does all the work without interruption. */
export function atOnce<T>(work: Sliced<T>): T {
  let step = work.next();
  while (!step.done) step = work.next();
  return step.value;
}

/** Rows of one snapshot, by their keys. Rows with the same key are numbered in their order. */
export type Rows = ReadonlyMap<string, Fields>;

export function* byKey(rows: readonly Fields[], keyOf: (row: Fields) => string): Sliced<Rows> {
  const all = new Map<string, Fields>();
  const counts = new Map<string, number>();
  for (const [number, row] of rows.entries()) {
    if (isSlice(number)) yield;
    const key = keyOf(row);
    const count = counts.get(key) ?? 0;
    counts.set(key, count + 1);
    all.set(count === 0 ? key : `${key}\0${count}`, row);
  }
  return all;
}

/** Names of row classes, see `ChangeKind.classOf`. */
export type Classes = ReadonlySet<string> | 'all';
export type ClassOf = (row: Fields) => string;

export const NO_CLASSES: Classes = new Set();

export const includes = (classes: Classes, name: string): boolean => classes === 'all' || classes.has(name);

/** The stored part of a snapshot, with which the next one is compared. */
export interface Base {
  readonly rows: Rows;
  /** Rows beyond the budget: digest of the key → digest of the row, a space, and its class. */
  readonly digests: ReadonlyMap<string, string>;
  /** Classes with missing rows since the first snapshot: a row of such a class that is not in the base may not be new. */
  readonly partial: Classes;
  /** Number of rows beyond both budgets. */
  readonly unkept: number;
}

/** Budget of a kind of snapshot for whole rows, in UTF-16 units, and for rows in all. */
const MAX_CHARACTERS = 128 * 1024;
const MAX_ROWS = 8_192;
/** More partial classes are saved as `all`. */
const MAX_SAVED_CLASSES = 256;

/**
 * The first rows are stored completely, because collectors list the most important ones first; the rest as digests. Classes
 * share the space: a class with many rows gets what the others leave.
 *
 * @param missing classes with further rows that are not in `rows`
 */
export function* keep(rows: Rows, classOf: ClassOf, missing: Classes): Sliced<Base> {
  const classes: string[] = [];
  const counts = new Map<string, number>();
  for (const row of rows.values()) {
    if (isSlice(classes.length)) yield;
    const name = classOf(row);
    classes.push(name);
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const limit = fairLimit([...counts.values()]);
  const whole = new Map<string, Fields>();
  const digests = new Map<string, string>();
  const kept = new Map<string, number>();
  const partial = new Set<string>();
  let length = 0;
  let unkept = 0;
  let number = -1;
  for (const [key, row] of rows) {
    number += 1;
    if (isSlice(number)) yield;
    const name = classes[number] ?? '';
    const before = kept.get(name) ?? 0;
    if (before >= limit) {
      partial.add(name);
      unkept += 1;
      continue;
    }
    kept.set(name, before + 1);
    length += lengthOf(row);
    if (length <= MAX_CHARACTERS) whole.set(key, row);
    else digests.set(digestOf(key), `${digestOfRow(row)} ${name}`);
  }
  return { rows: whole, digests, partial: missing === 'all' ? 'all' : new Set([...missing, ...partial]), unkept };
}

/** The row limit per class: the largest with which all classes together fit. */
function fairLimit(counts: readonly number[]): number {
  let space = MAX_ROWS;
  let classes = counts.length;
  for (const count of [...counts].sort((a, b) => a - b)) {
    if (count * classes > space) return Math.floor(space / classes);
    space -= count;
    classes -= 1;
  }
  return MAX_ROWS;
}

/** Rows of the base that are not in `rows` are also kept if rows of their class are missing. */
export function* keepBoth(base: Base, rows: Rows, classOf: ClassOf, missing: Classes): Sliced<Base> {
  const merged = new Map(rows);
  for (const [key, row] of base.rows) if (!merged.has(key) && includes(missing, classOf(row))) merged.set(key, row);
  const kept = yield* keep(merged, classOf, both(base.partial, missing));
  const digests = new Map(kept.digests);
  for (const [key, digest] of base.digests) {
    if (digests.size < MAX_ROWS && !digests.has(key) && includes(missing, classOfDigest(digest)))
      digests.set(key, digest);
  }
  return { ...kept, digests };
}

function both(one: Classes, other: Classes): Classes {
  if (one === 'all') return other;
  return new Set([...one].filter((name) => includes(other, name)));
}

export interface Compared {
  readonly added: readonly Fields[];
  readonly removed: readonly Fields[];
  /** Rows in both that differ; `before` is omitted if only its digest was stored. */
  readonly modified: readonly { readonly before: Fields | undefined; readonly after: Fields }[];
}

export function* compare(base: Base, rows: Rows): Sliced<Compared> {
  const addedRows: Fields[] = [];
  const modifiedRows: { before: Fields | undefined; after: Fields }[] = [];
  let number = 0;
  for (const [key, after] of rows) {
    if (isSlice(number)) yield;
    number += 1;
    const before = base.rows.get(key);
    if (before !== undefined) {
      if (!isEqual(before, after)) modifiedRows.push({ before, after });
      continue;
    }
    const digest = base.digests.size === 0 ? undefined : base.digests.get(digestOf(key));
    if (digest === undefined) addedRows.push(after);
    else if (!digest.startsWith(digestOfRow(after))) modifiedRows.push({ before: undefined, after });
  }
  const removedRows = [...base.rows].flatMap(([key, before]) => (rows.has(key) ? [] : [before]));
  return { added: addedRows, removed: removedRows, modified: modifiedRows };
}

const isEqual = (a: Fields, b: Fields): boolean => {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
};

const lengthOf = (row: Fields): number =>
  Object.entries(row).reduce((all, [name, value]) => all + name.length + value.length + 6, 2);

const DIGEST_LENGTH = 11;

/** 64 bits are enough: an attacker gains nothing from two rows that count as one. */
const digestOf = (text: string): string =>
  createHash('sha256').update(text).digest('base64url').slice(0, DIGEST_LENGTH);

const digestOfRow = (row: Fields): string => digestOf(JSON.stringify(Object.entries(row).sort()));

const classOfDigest = (digest: string): string => digest.slice(DIGEST_LENGTH + 1);

/** For the state on disk. */
export const toJson = ({ rows, digests, partial }: Base): unknown => ({
  rows: [...rows.values()],
  digests: [...digests],
  partial: partial === 'all' || partial.size > MAX_SAVED_CLASSES ? 'all' : [...partial],
});

/** @returns `undefined` for a value that `toJson` did not produce: the file may be damaged */
export function fromJson(value: unknown, keyOf: (row: Fields) => string): Base | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { rows, digests, partial, isPartial } = value as Record<string, unknown>;
  if (!Array.isArray(rows) || !rows.every(isFields) || !Array.isArray(digests) || !digests.every(isPair)) {
    return undefined;
  }
  return {
    rows: atOnce(byKey(rows, keyOf)),
    digests: new Map(digests),
    // The previous release had a single flag, isPartial.
    partial: Array.isArray(partial) && partial.every(isText) ? new Set(partial) : isWhole({ partial, isPartial }),
    unkept: 0,
  };
}

const isWhole = ({ partial, isPartial }: Record<string, unknown>): Classes =>
  partial === undefined && isPartial === false ? NO_CLASSES : 'all';

const isText = (value: unknown): value is string => typeof value === 'string';

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && Object.values(value).every((one) => typeof one === 'string');

const isPair = (value: unknown): value is [string, string] =>
  Array.isArray(value) && value.length === 2 && value.every((one) => typeof one === 'string');
