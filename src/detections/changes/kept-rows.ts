import { createHash } from 'node:crypto';
import type { Fields } from '../subject.ts';
import { atOnce, isSlice, type Sliced } from './slices.ts';

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

/** What is kept of a kind of snapshot to compare the next one with. */
export interface Base {
  readonly rows: Rows;
  /** Rows beyond the budget: digest of the key → digest of the row. */
  readonly digests: ReadonlyMap<string, string>;
  /** Whether rows have been missing since the first snapshot, so that a row that is not here need not be new. */
  readonly isPartial: boolean;
  /** Number of rows beyond both budgets. */
  readonly unkept: number;
}

/** Budget of a kind of snapshot for whole rows, in UTF-16 units, and for digests. */
const MAX_CHARACTERS = 128 * 1024;
const MAX_DIGESTS = 8_192;

/** The first rows are kept whole, since collectors put what matters most first; others as digests. */
export function* keep(rows: Rows, { isPartial }: Pick<Base, 'isPartial'>): Sliced<Base> {
  const whole = new Map<string, Fields>();
  const digests = new Map<string, string>();
  let length = 0;
  let unkept = 0;
  let number = 0;
  for (const [key, row] of rows) {
    if (isSlice(number)) yield;
    number += 1;
    length += lengthOf(row);
    if (length <= MAX_CHARACTERS) whole.set(key, row);
    else if (digests.size < MAX_DIGESTS) digests.set(digestOf(key), digestOfRow(row));
    else unkept += 1;
  }
  return { rows: whole, digests, isPartial: isPartial || unkept > 0, unkept };
}

/** The rows of the base that are not in `rows` are kept, too. */
export function* keepBoth(base: Base, rows: Rows): Sliced<Base> {
  const merged = new Map(rows);
  for (const [key, row] of base.rows) if (!merged.has(key)) merged.set(key, row);
  const kept = yield* keep(merged, base);
  const digests = new Map(kept.digests);
  for (const [key, digest] of base.digests) if (digests.size < MAX_DIGESTS) digests.set(key, digest);
  return { ...kept, digests };
}

export interface Compared {
  readonly added: readonly Fields[];
  readonly removed: readonly Fields[];
  /** Rows of both that differ; `before` is absent when only its digest was kept. */
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
    else if (digest !== digestOfRow(after)) modifiedRows.push({ before: undefined, after });
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

/** 64 bits: enough, since an attacker cannot gain by two rows that count as one. */
const digestOf = (text: string): string => createHash('sha256').update(text).digest('base64url').slice(0, 11);

const digestOfRow = (row: Fields): string => digestOf(JSON.stringify(Object.entries(row).sort()));

/** For the state on disk. */
export const toJson = ({ rows, digests, isPartial }: Base): unknown => ({
  rows: [...rows.values()],
  digests: [...digests],
  isPartial,
});

/** @returns `undefined` when it is not what `toJson` made: the file may be damaged */
export function fromJson(value: unknown, keyOf: (row: Fields) => string): Base | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { rows, digests, isPartial } = value as Record<string, unknown>;
  if (!Array.isArray(rows) || !rows.every(isFields) || !Array.isArray(digests) || !digests.every(isPair)) {
    return undefined;
  }
  return { rows: atOnce(byKey(rows, keyOf)), digests: new Map(digests), isPartial: isPartial === true, unkept: 0 };
}

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && Object.values(value).every((one) => typeof one === 'string');

const isPair = (value: unknown): value is [string, string] =>
  Array.isArray(value) && value.length === 2 && value.every((one) => typeof one === 'string');
