import type * as v from 'valibot';
import type { DropReason } from '../base/counters.ts';
import type { EventType, Payload, Priority } from './event.ts';
import type { Settings } from './settings.ts';
import type { ListingStatus, Lookups, Sources, StreamName, Streams } from './sources.ts';

/** What every collector declares. The docs, the twin's keys and `vakt events` are made from this. */
interface Declaration<S> {
  /** The event's name on the wire, for example `ListeningPorts`. */
  readonly name: string;
  readonly type: EventType;
  /** In force until the module twin sets another one. */
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
   * matters most comes first: where not all rows can be sent, the last ones are left out.
   */
  collect(from: Sources, signal: AbortSignal): Promise<v.InferOutput<S>[]>;
  /**
   * A snapshot that is larger than a message is sent as several events, see PartDetails. Declare it when consumers need
   * every row, since a missing row means that the thing is gone. `payload` must have ExtraDetails. Absent: only the first
   * rows are sent, as many as fit into one message.
   */
  readonly inParts?: true;
  /** How the source of the last snapshot stood; absent where there is only one source. */
  sourceStatus?(from: Sources): ListingStatus;
  /** How many things the rows of a snapshot stand for; absent: one each. */
  count?(rows: readonly v.InferOutput<S>[]): number;
  /** Whether a change of settings outdates the last snapshot, so that a new one is taken at once. */
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

type Triggered<S extends Schema, K extends StreamName> = Declaration<S> & {
  /** The stream that the event comes from. */
  readonly stream: K;
  /**
   * A pure translation of one record of that stream: a payload, or `undefined` when the record is about something else.
   * Throws MalformedRecordError when it lacks what the payload needs: that record is counted, and the others stay.
   */
  translate(record: Streams[K], look: Lookups): v.InferOutput<S> | undefined;
  /** Absent: never aggregated. */
  readonly aggregate?: Aggregation<v.InferOutput<S>>;
};

/** A snapshot of state, taken once per snapshot frequency. */
export type PeriodicCollector = { readonly category: 'Periodic' } & Periodic<Schema>;

/** Something that happened, seen in one of the streams. */
export type TriggeredCollector<K extends StreamName = StreamName> = { readonly category: 'Triggered' } & Omit<
  Triggered<Schema, K>,
  'aggregate'
> & { readonly aggregate?: Aggregation<Payload> };

export type Collector = PeriodicCollector | TriggeredCollector;

/** Declares a snapshot collector: `collect` must return what `payload` describes. */
export const periodic = <S extends Schema>(declared: Periodic<S>): PeriodicCollector =>
  ({ category: 'Periodic', ...declared }) as PeriodicCollector;

/** Declares a collector of things that happen: `translate` must return what `payload` describes. */
export const triggered = <S extends Schema, const K extends StreamName>(
  declared: Triggered<S, K>,
): TriggeredCollector<K> => ({ category: 'Triggered', ...declared }) as unknown as TriggeredCollector<K>;

/** Why the events of a collector are left out now, and counted as dropped for it; `undefined` when they aren't. */
export type LeavesOut = (collector: Pick<Collector, 'type'>, priority: Priority) => DropReason | undefined;

/** A record that should have become an event but lacks something. It is dropped and counted as `malformed`. */
export class MalformedRecordError extends Error {
  override readonly name = 'MalformedRecordError';
}
