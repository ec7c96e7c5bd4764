import type { Payload } from './event.ts';
import type { LossReason, StreamName } from './sources.ts';

/** One thing that happened, as a collector has translated it. */
export interface Occurrence {
  /** The event's name, for example `ProcessCreate`. */
  readonly event: string;
  readonly payload: Payload;
  readonly time: Date;
  /** Of the audit event that reported it; `undefined` where its source has none. */
  readonly serial: number | undefined;
  readonly stream: StreamName;
}

/** What a source has read at a time, as one event. It is translated when a consumer first asks for it, and only once. */
export interface OccurrenceBatch {
  readonly event: string;
  /** In the order of the records. */
  occurrences(): readonly Occurrence[];
  /** How many there are. Nothing is looked up for it. */
  count(): number;
  /** Why records could not be translated, one error each. Complete once one of the two methods was called. */
  readonly broken: readonly unknown[];
}

/** Takes occurrences: the pipeline, `vakt collect`. */
export interface OccurrenceConsumer {
  /** Whether it wants an event now. A stream is read only while a consumer wants an event of it. */
  wants(event: string): boolean;
  /** Takes a batch of an event that it wants. Other consumers come after it, so it must not throw. */
  accept(batch: OccurrenceBatch): void;
  /** Something was lost before it could be translated; see StreamSink.drop. */
  lost(streams: readonly StreamName[], reason: LossReason, count: number): void;
}
