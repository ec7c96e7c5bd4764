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

/** The rows of a snapshot from messages. */
export interface Assembled {
  readonly rows: readonly Payload[];
  /** Number of rows that did not fit into the messages. */
  readonly leftOut: number;
  /** Whether rows without ExtraDetails may have lost them. */
  readonly lackDetails: boolean;
}

interface Pending {
  readonly id: string;
  readonly parts: Map<number, readonly Payload[]>;
}

/** Assembles snapshots that are sent in parts. For events from messages; the agent's own snapshots are complete. */
export class SnapshotParts {
  /** The last incomplete snapshot, keyed by event: its parts are sent together and in order. */
  readonly #pending = new Map<string, Pending>();

  /** @returns the complete snapshot, or `undefined` while parts are missing */
  accept(event: string, payload: readonly Payload[]): Assembled | undefined {
    const { Part, Parts, SnapshotId } = rawDetails(payload[0]);
    const [part, parts] = [Number(Part), Number(Parts)];
    if (SnapshotId === undefined || !(part >= 1 && part <= parts && parts <= MAX_PARTS)) return assembled(payload);
    const known = this.#pending.get(event);
    const pending: Pending = known?.id === SnapshotId ? known : { id: SnapshotId, parts: new Map() };
    pending.parts.set(part, payload);
    this.#pending.set(event, pending);
    if (pending.parts.size < parts) return undefined;
    this.#pending.delete(event);
    return assembled([...pending.parts].sort(([a], [b]) => a - b).flatMap(([, rows]) => rows));
  }
}

const MAX_PARTS = 1_000;

function assembled(rows: readonly Payload[]): Assembled {
  const { OmittedElements = '0', OmittedDetails = '0' } = rawDetails(rows.at(-1));
  return { rows, leftOut: Number(OmittedElements) || 0, lackDetails: Number(OmittedDetails) > 0 };
}

const rawDetails = (row: Payload | undefined) => (row?.ExtraDetails ?? {}) as Record<string, string | undefined>;
