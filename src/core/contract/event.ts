/** A snapshot of state, or something that happened. */
export type Category = 'Periodic' | 'Triggered';

export type EventType = 'Security' | 'Operational' | 'Diagnostic';

export const PRIORITIES = ['Off', 'Low', 'High'] as const;
/** How urgent an event is; `Off` disables its collector. */
export type Priority = (typeof PRIORITIES)[number];

export const QUEUES = ['High', 'Low'] as const;
/** The queue that an event waits in; it follows from the priority. */
export type QueueName = (typeof QUEUES)[number];

/** Sigma's levels, from the least severe. */
export const ALERT_LEVELS = ['informational', 'low', 'medium', 'high', 'critical'] as const;
export type AlertLevel = (typeof ALERT_LEVELS)[number];

/** One element of an event's payload, with the wire's own field names. */
export type Payload = Readonly<Record<string, unknown>>;

/**
 * ExtraDetails of the first row of each part, when a snapshot is sent as several events. The snapshot is complete when
 * all events with its SnapshotId have come, from Part 1 to Parts; each has its own rows.
 */
export type PartDetails = Readonly<Record<'Part' | 'Parts' | 'SnapshotId', string>>;

/** An event as it is sent (message_v1_0.json): the envelope around one or more payload elements. */
export interface Envelope {
  /** UUID; the same at every attempt to send it. */
  readonly Id: string;
  /** RFC 3339 with the device's offset. */
  readonly TimestampLocal: string;
  /** RFC 3339 with `Z`. */
  readonly TimestampUTC: string;
  readonly Category: Category;
  readonly Name: string;
  readonly EventType: EventType;
  readonly IsEmpty: boolean;
  readonly PayloadSchemaVersion: string;
  readonly Payload: readonly Payload[];
}
