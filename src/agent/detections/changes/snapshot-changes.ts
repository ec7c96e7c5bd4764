import type { Payload } from '../../../core/contract/event.ts';
import type { Fields, LogSource, Subject } from '../subject.ts';
import { baselineChanges } from './baseline.ts';
import { agentChange, change, type Observation } from './change.ts';
import { firewallChanges } from './firewall.ts';
import { hardwareChanges } from './hardware.ts';
import {
  atOnce,
  type Base,
  byKey,
  type Classes,
  compare,
  fromJson,
  includes,
  isSlice,
  keep,
  keepBoth,
  NO_CLASSES,
  type Rows,
  type Sliced,
  toJson,
} from './kept-rows.ts';
import type { ChangeKind } from './kind.ts';
import { listeningPortChanges } from './listening-ports.ts';
import { localUserChanges } from './local-users.ts';

const KINDS: readonly ChangeKind[] = [
  listeningPortChanges,
  localUserChanges,
  firewallChanges,
  hardwareChanges,
  baselineChanges,
];

/** A whole snapshot, or the available part of one. */
export interface ComparedSnapshot extends Observation {
  readonly rows: readonly Payload[];
  /** Number of missing rows. */
  readonly leftOut: number;
  /** Number of missing rows of each class, if the source knows it. */
  readonly leftOutBy?: Readonly<Record<string, number>> | undefined;
  /** Whether rows without ExtraDetails may have lost them. */
  readonly lackDetails?: boolean;
}

/**
 * Compares each snapshot with the previous one.
 *
 * The first one is the base, and shows no change. If a snapshot with missing rows does not list a row, the row is not reported as
 * removed: it stays in the base until a complete snapshot lacks it. Until the first complete one, no row is reported as new.
 * Completeness is tracked per class of rows.
 */
export class SnapshotChanges {
  readonly #bases = new Map<string, Base>();
  /** Number of rows that could not be compared, keyed by event. */
  readonly #missing = new Map<string, number>();

  /** Whether snapshots of this event are compared. */
  static compares(event: string): boolean {
    return KINDS.some((kind) => kind.event === event);
  }

  /** The rule source for differences of this event's snapshots. */
  static sourceOf(event: string): LogSource | undefined {
    return KINDS.find((kind) => kind.event === event)?.source;
  }

  /** Whether the next snapshot can be compared completely. */
  hasWhole(event: string): boolean {
    const partial = this.#bases.get(event)?.partial;
    return partial !== undefined && partial !== 'all' && partial.size === 0;
  }

  accept(snapshot: ComparedSnapshot): Subject[] {
    return atOnce(this.inSlices(snapshot));
  }

  /** The same in slices. One snapshot at a time: finish the work before the next one starts. */
  *inSlices(snapshot: ComparedSnapshot): Sliced<Subject[]> {
    const kind = KINDS.find(({ event }) => event === snapshot.event);
    if (kind === undefined) return [];
    const { event } = snapshot;
    const { rows, unreadable } = yield* read(kind, snapshot);
    const leftOut = snapshot.leftOut + unreadable;
    const compared = yield* this.#compare(kind, rows, missingClasses(snapshot, unreadable));
    const changes = compared.map((fields) => change(kind.source, fields, snapshot));
    const wasWhole = !this.#missing.has(event);
    const missing = leftOut + (this.#bases.get(event)?.unkept ?? 0);
    if (missing === 0) this.#missing.delete(event);
    else this.#missing.set(event, missing);
    if (missing === 0 || !wasWhole) return changes;
    const fields = { Collector: event, OmittedElements: String(missing) };
    return [...changes, agentChange(fields, { ...snapshot, event: 'SnapshotIncomplete' })];
  }

  /** Rows of the last snapshot that are missing or beyond the limits, keyed by event, for the status. */
  incomplete(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#missing);
  }

  /** For the state on disk. */
  toJson(): unknown {
    return Object.fromEntries([...this.#bases].map(([event, base]) => [event, toJson(base)]));
  }

  /** Restores the state from `toJson`. Damaged parts are skipped: the next snapshot is the base then. */
  restore(value: unknown): void {
    if (typeof value !== 'object' || value === null) return;
    for (const { event, keyOf } of KINDS) {
      const base = fromJson((value as Record<string, unknown>)[event], keyOf);
      if (base !== undefined) this.#bases.set(event, base);
    }
  }

  *#compare(kind: ChangeKind, rows: Rows, missing: Classes): Sliced<Fields[]> {
    const { event, classOf = ONE_CLASS } = kind;
    const base = this.#bases.get(event);
    if (base === undefined) {
      this.#bases.set(event, yield* keep(rows, classOf, missing));
      return [];
    }
    const compared = yield* compare(base, rows);
    this.#bases.set(event, yield* keepBoth(base, rows, classOf, missing));
    const removed = compared.removed.filter((row) => !includes(missing, classOf(row)));
    const differences = kind.differences({ ...compared, removed }, base, rows);
    return differences.filter((row) => row.Change !== 'added' || !includes(base.partial, classOf(row)));
  }
}

const ONE_CLASS = () => '';

/** Classes with missing rows in a snapshot. */
function missingClasses({ leftOut, leftOutBy = {} }: ComparedSnapshot, unreadable: number): Classes {
  if (leftOut + unreadable === 0) return NO_CLASSES;
  const known = Object.values(leftOutBy).reduce((all, count) => all + count, 0);
  return known === leftOut && unreadable === 0 ? new Set(Object.keys(leftOutBy)) : 'all';
}

function* read(
  kind: ChangeKind,
  { rows, lackDetails = false }: ComparedSnapshot,
): Sliced<{ rows: Rows; unreadable: number }> {
  const read: Fields[] = [];
  for (const [number, row] of rows.entries()) {
    if (isSlice(number)) yield;
    const fields = kind.read(row, lackDetails);
    if (fields !== undefined) read.push(fields);
  }
  return { rows: yield* byKey(read, kind.keyOf), unreadable: rows.length - read.length };
}
