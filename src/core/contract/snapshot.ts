import type { Payload } from './event.ts';
import type { SourceStatus } from './sources.ts';

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
