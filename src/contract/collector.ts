import type * as v from 'valibot';
import type { DropReason } from '../base/counters.ts';
import type { EventType, Payload, Priority } from './event.ts';
import type { Settings } from './settings.ts';
import type { AuditRule, ListingStatus, Lookups, Sources, Streams } from './sources.ts';

/** What every collector declares. The docs, the twin's keys and `vakt events` are made from this. */
interface Declaration<S> {
  /** The event's name on the wire, for example `ListeningPorts`. */
  readonly name: string;
  readonly type: EventType;
  /** Holds until the twin's `eventPriority<name>` says otherwise. */
  readonly priority: Exclude<Priority, 'Off'>;
  /** Of the payload's schema, as the published contract numbers it. */
  readonly version: string;
  /** One sentence for the catalogue: what the event says. */
  readonly summary: string;
  /** Where the facts come from: a kernel interface and its man page. */
  readonly source: string;
  /** The shape of one payload element, with the wire's own field names. */
  readonly payload: S;
}

type Schema = v.GenericSchema<Payload>;

type Periodic<S extends Schema> = Declaration<S> & {
  /**
   * Takes one snapshot. An empty array is an answer ("nothing there") and is sent; what can't be read rejects. What
   * matters most comes first: where not all rows fit into a message, the last ones are left out.
   */
  collect(from: Sources, signal: AbortSignal): Promise<v.InferOutput<S>[]>;
  /** How the source of the last snapshot stood; absent where there is only one, that works or doesn't. */
  sourceStatus?(from: Sources): ListingStatus;
  /** How many things the rows of a snapshot stand for; absent: one each. */
  count?(rows: readonly v.InferOutput<S>[]): number;
  /** Whether the last snapshot says something else after a change of settings, so that it is taken anew at once. */
  isOutdated?(before: Settings, now: Settings): boolean;
};

/** How occurrences that say the same become one element with a count (contract §5). */
export interface Aggregation<P> {
  /** The fields by which two payloads count as the same, texts or numbers; the one that differs most comes first. */
  readonly by: readonly (keyof P & string)[];
  /** The members of ExtraDetails that count as well. An element keeps no others. */
  readonly details?: readonly string[];
  /** What stands in place of the fields that tell occurrences apart, such as the process id. */
  readonly blank: Blank<P> | ((payload: P) => Blank<P>);
}

/** `null`: the field is left out. */
type Blank<P> = { readonly [K in keyof P]?: P[K] | null };

type Triggered<S extends Schema> = Declaration<S> & {
  /**
   * A pure translation for every stream the event can come from: a payload, or `undefined` when the record is none of
   * ours. Throws MalformedRecordError when it is ours but broken: it is counted, and its neighbours live.
   */
  readonly from: {
    readonly [K in keyof Streams]?: (record: Streams[K], look: Lookups) => v.InferOutput<S> | undefined;
  };
  /** What the kernel's audit must be told to report; in force while the priority isn't `Off`. */
  readonly auditRules?: readonly AuditRule[];
  /** Absent: never aggregated. */
  readonly aggregate?: Aggregation<v.InferOutput<S>>;
};

/** A snapshot of state, taken every `snapshotFrequency`. */
export type PeriodicCollector = { readonly category: 'Periodic' } & Periodic<Schema>;

/** Something that happened, seen in one of the streams. */
export type TriggeredCollector = { readonly category: 'Triggered' } & Omit<Triggered<Schema>, 'aggregate'> & {
    readonly aggregate?: Aggregation<Payload>;
  };

export type Collector = PeriodicCollector | TriggeredCollector;

/** Declares a snapshot collector: `collect` must return what `payload` describes. */
export const periodic = <S extends Schema>(declared: Periodic<S>): PeriodicCollector =>
  ({ category: 'Periodic', ...declared }) as PeriodicCollector;

/** Declares a collector of things that happen: `from` must return what `payload` describes. */
export const triggered = <S extends Schema>(declared: Triggered<S>): TriggeredCollector =>
  ({ category: 'Triggered', ...declared }) as unknown as TriggeredCollector;

/** Why the events of a collector are left out now, and counted as dropped for it; `undefined` when they aren't. */
export type LeavesOut = (collector: Pick<Collector, 'type'>, priority: Priority) => DropReason | undefined;

/** A record that should have become an event but lacks something. It is dropped and counted as `malformed`. */
export class MalformedRecordError extends Error {
  override readonly name = 'MalformedRecordError';
}

/** A decimal number out of a record. @throws MalformedRecordError when it is missing or none */
export function integer(text: string | undefined, what: string): number {
  if (text === undefined || !/^-?\d{1,15}$/.test(text))
    throw new MalformedRecordError(`${what} is ${text ?? 'missing'}`);
  return Number(text);
}
