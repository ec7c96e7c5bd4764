import type { Payload } from './event.ts';
import type { SourceStatus } from './sources.ts';
import type { LossReason, StreamName } from './streams.ts';

/** One thing that happened, as a collector has translated it. */
export interface Occurrence {
  /** The event's name, for example `ProcessCreate`. */
  readonly event: string;
  readonly payload: Payload;
  readonly time: Date;
  /** Serial number of the audit event that reported it; `undefined` if its source has none. */
  readonly serial: number | undefined;
  readonly stream: StreamName;
  /** Arguments of a started program with their bounds, which the payload's command line doesn't show; absent if unknown. */
  readonly argv?: readonly string[] | undefined;
}

/** Records that a source read together, translated to one event. Translated once, when a consumer first needs them. */
export interface OccurrenceBatch {
  readonly event: string;
  /** In the order of the records. */
  occurrences(): readonly Occurrence[];
  /** The number of occurrences. Unlike `occurrences`, it looks nothing up. */
  count(): number;
  /** One error for each record that could not be translated. Empty until one of the two methods was called. */
  readonly broken: readonly unknown[];
}

/** Receives the occurrences of the events that it requests. Several consumers can request the same event. */
export interface OccurrenceConsumer {
  /** Whether it currently requests an event. A stream is read only while a consumer requests one of its events. */
  wants(event: string): boolean;
  /** Receives a batch of an event that it requests. Must not throw, or later consumers would not be called. */
  accept(batch: OccurrenceBatch): void;
  /** Records were lost before they could be translated; see StreamSink.drop. */
  lost(streams: readonly StreamName[], reason: LossReason, count: number): void;
  /** Whether it is still processing occurrences that it accepted; see StreamSink.isBehind. If omitted, it never is. */
  isBehind?(): boolean;
}

/** A snapshot of state as its collector took it, with all rows, whether or not it is sent. */
export interface Snapshot {
  /** The event's name, for example `ListeningPorts`. */
  readonly event: string;
  /** When it was begun. */
  readonly at: Date;
  readonly rows: readonly Payload[];
  /** Number of rows that are missing, because the source's list has a limit. If it isn't 0, a missing row proves nothing. */
  readonly leftOut: number;
  /** See `ListingStatus`. */
  readonly leftOutBy?: Readonly<Record<string, number>>;
  /** The status of the source, for example `degraded`; absent if it either works or fails. */
  readonly source?: SourceStatus;
}

/** Receives snapshots besides the pipeline. */
export interface SnapshotConsumer {
  /**
   * Whether it requests snapshots of this event; it then gets them even while the event's priority is Off or collecting is paused.
   */
  wants(event: string): boolean;
  /** Receives a snapshot before it is queued. Must not throw, keep references to rows for long, or change them. */
  accept(snapshot: Snapshot): void;
  /**
   * A snapshot that it requested could not be taken. Not called for a snapshot that was taken but could not be queued.
   */
  failed(event: string, problem: string): void;
}
