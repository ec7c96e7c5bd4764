import type { Payload } from '../../../core/contract/event.ts';
import type { Fields } from '../subject.ts';

/** ExtraDetails that are about the message, not about the row. */
const LABELS = new Set(['Part', 'Parts', 'SnapshotId', 'OmittedElements', 'OmittedDetails']);

/** A longer value is cut: names of devices and comments of rules come from others. In UTF-16 units. */
const LONGEST_VALUE = 512;

/** A row's ExtraDetails without the labels of its message; empty when it has none. */
export function detailsOf(row: Payload): Fields {
  const details = row.ExtraDetails;
  if (typeof details !== 'object' || details === null) return {};
  const entries = Object.entries(details).filter(([name]) => !LABELS.has(name));
  return Object.fromEntries(entries.flatMap(([name, value]) => textOf(name, value)));
}

/** The fields of a row without ExtraDetails. Numbers and flags as text. */
export const ownFields = (row: Payload): Fields =>
  Object.fromEntries(Object.entries(row).flatMap(([name, value]) => textOf(name, value)));

/** All fields of a row; its own win over ExtraDetails of the same name. */
export const allFields = (row: Payload): Fields => ({ ...detailsOf(row), ...ownFields(row) });

function textOf(name: string, value: unknown): [string, string][] {
  if (typeof value === 'string') return [[name, value.slice(0, LONGEST_VALUE)]];
  return typeof value === 'number' || typeof value === 'boolean' ? [[name, String(value)]] : [];
}

/** A copy with only the named fields, and of those only the ones that are known. */
export const pick = (fields: Fields, names: readonly string[]): Fields =>
  Object.fromEntries(names.flatMap((name) => (fields[name] === undefined ? [] : [[name, fields[name]]])));

export const omit = (fields: Fields, names: readonly string[]): Fields =>
  Object.fromEntries(Object.entries(fields).filter(([name]) => !names.includes(name)));
