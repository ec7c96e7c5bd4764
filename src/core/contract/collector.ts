import type * as v from 'valibot';
import type { DropReason } from '../base/counters.ts';
import type { Payload, Priority } from './event.ts';
import type { EventRow } from './events.ts';
import type { Lookups } from './lookups.ts';
import type { Settings } from './settings.ts';
import type { ListingStatus, Sources } from './sources.ts';
import type { StreamName, Streams } from './streams.ts';

/** What every collector declares. The docs, the twin's keys and `vakt events` are generated from it. */
interface Declaration<S> extends EventRow {
  /** Version of the payload's schema in the published contract. */
  readonly version: string;
  /** One sentence for the catalogue: what the event reports. */
  readonly summary: string;
  /** Where the facts come from: a kernel interface and its man page. */
  readonly source: string;
  /** The shape of one payload element, with the wire's own field names. */
  readonly payload: S;
  /**
   * The event is not in the published contract, whose schema is closed: it goes in messages without the mark for the
   * security service only (contract §3).
   */
  readonly extension?: true;
}

type Schema = v.GenericSchema<Payload>;

type Periodic<S extends Schema> = Declaration<S> & {
  /**
   * Takes one snapshot. An empty array means that nothing was found, and is sent. Rejects when the source can't be
   * read. The most important rows come first: if not all can be sent, the last ones are omitted.
   */
  collect(from: Sources, signal: AbortSignal): Promise<v.InferOutput<S>[]>;
  /**
   * A snapshot that is larger than a message is sent as several events, see PartDetails. Declare it when consumers need
   * every row, since a missing row means that the object was removed. `payload` must have ExtraDetails. If omitted, only the
   * first rows are sent, as many as fit into one message.
   */
  readonly inParts?: true;
  /**
   * A string that changes when the next snapshot may differ; see Traced in sources.ts. If omitted, this event is
   * not compared between the rounds.
   */
  trace?(from: Sources, signal: AbortSignal): Promise<string | undefined>;
  /** The status of the source at the last snapshot; absent if it either works or rejects. */
  sourceStatus?(from: Sources): ListingStatus;
  /** Number of objects that the rows of a snapshot represent. Default: one each. */
  count?(rows: readonly v.InferOutput<S>[]): number;
  /** Whether a change of settings outdates the last snapshot, so that a new one is taken immediately. */
  isOutdated?(before: Settings, now: Settings): boolean;
};

/** How equal occurrences become one element with a count (contract §5). */
export interface Aggregation<P> {
  /** Fields, strings or numbers, in which equal payloads agree. For speed, the one that differs most comes first. */
  readonly by: readonly (keyof P & string)[];
  /** Members of ExtraDetails in which equal payloads agree, too. The aggregated element has no others. */
  readonly details?: readonly string[];
  /** Values of the aggregated element for fields that differ between occurrences, such as the process id. */
  readonly blank: Blank<P> | ((payload: P) => Blank<P>);
}

/** `null`: the field is omitted. */
type Blank<P> = { readonly [K in keyof P]?: P[K] | null };

type Triggered<S extends Schema, K extends StreamName> = Declaration<S> & {
  /** The stream that the event comes from. */
  readonly stream: K;
  /**
   * Translates one record of that stream to a payload; `undefined` if this event does not report it. Pure. Throws
   * MalformedRecordError if the record lacks a required field: that record is dropped and counted, others are not
   * affected.
   */
  translate(record: Streams[K], look: Lookups): v.InferOutput<S> | undefined;
  /** Present if `isAggregated` is. */
  readonly aggregate?: Aggregation<v.InferOutput<S>>;
};

/** A snapshot of state, taken once per snapshot frequency. */
export type PeriodicCollector = { readonly category: 'Periodic' } & Periodic<Schema>;

/** Something that happened, as reported by one of the streams. */
export type TriggeredCollector<K extends StreamName = StreamName> = { readonly category: 'Triggered' } & Omit<
  Triggered<Schema, K>,
  'aggregate'
> & { readonly aggregate?: Aggregation<Payload> };

export type Collector = PeriodicCollector | TriggeredCollector;

/** Declares a snapshot collector: `collect` must return what `payload` describes. */
export const periodic = <S extends Schema>(declared: Periodic<S>): PeriodicCollector =>
  ({ category: 'Periodic', ...declared }) as PeriodicCollector;

/** Declares a Triggered collector: `translate` must return what `payload` describes. */
export const triggered = <S extends Schema, const K extends StreamName>(
  declared: Triggered<S, K>,
): TriggeredCollector<K> => ({ category: 'Triggered', ...declared }) as unknown as TriggeredCollector<K>;

/** The reason for which a collector's events are being dropped now; `undefined` if they aren't. */
export type LeavesOut = (
  collector: Pick<Collector, 'name' | 'type' | 'category'>,
  priority: Priority,
) => DropReason | undefined;

/** A record lacks a required field. It is dropped and counted as `malformed`. */
export class MalformedRecordError extends Error {
  override readonly name = 'MalformedRecordError';
}
