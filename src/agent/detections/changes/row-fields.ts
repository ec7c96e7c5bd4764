import type { Payload } from '../../../core/contract/event.ts';
import type { Fields } from '../subject.ts';

/** ExtraDetails about the message, not about the row. */
const LABELS = new Set(['Part', 'Parts', 'SnapshotId', 'OmittedElements', 'OmittedDetails']);

/** Longer values are truncated: other parties choose device names and rule comments. In UTF-16 units. */
const LONGEST_VALUE = 512;

/** A row's ExtraDetails without the labels of its message; empty if it has none. */
export function detailsOf(row: Payload): Fields {
  const details = row.ExtraDetails;
  if (typeof details !== 'object' || details === null) return {};
  const entries = Object.entries(details).filter(([name]) => !LABELS.has(name));
  return Object.fromEntries(entries.flatMap(([name, value]) => textOf(name, value)));
}

/** The fields of a row without ExtraDetails. Numbers and flags as strings. */
export const ownFields = (row: Payload): Fields =>
  Object.fromEntries(Object.entries(row).flatMap(([name, value]) => textOf(name, value)));

/** All fields of a row; its own fields take precedence over ExtraDetails of the same name. */
export const allFields = (row: Payload): Fields => ({ ...detailsOf(row), ...ownFields(row) });

function textOf(name: string, value: unknown): [string, string][] {
  if (typeof value === 'string') return [[name, value.slice(0, LONGEST_VALUE)]];
  return typeof value === 'number' || typeof value === 'boolean' ? [[name, String(value)]] : [];
}

/** A copy with the named fields that are known. */
export const pick = (fields: Fields, names: readonly string[]): Fields =>
  Object.fromEntries(names.flatMap((name) => (fields[name] === undefined ? [] : [[name, fields[name]]])));

export const omit = (fields: Fields, names: readonly string[]): Fields =>
  Object.fromEntries(Object.entries(fields).filter(([name]) => !names.includes(name)));
