import { randomUUID } from 'node:crypto';
import type { Collector } from '../../core/contract/collector.ts';
import type { Envelope, Payload } from '../../core/contract/event.ts';
import type { OutgoingEvent } from '../../core/contract/store.ts';

/**
 * ExtraDetails of an element whose time is from an unset clock, see unset-clock.ts. Elements that differ in them are
 * counted apart, whatever the aggregation rule of their collector.
 */
export const MARKS = ['ClockNotSet', 'BootId', 'BootTimeUtc'] as const;

/** Wraps payload elements in the envelope in which they are sent, with `time` as its time. */
export function envelope(
  { name, category, type, version }: Pick<Collector, 'name' | 'category' | 'type' | 'version'>,
  payload: readonly Payload[],
  time: Date,
  id: string = randomUUID(),
): Envelope {
  return {
    Id: id,
    TimestampLocal: localTime(time),
    TimestampUTC: time.toISOString(),
    Category: category,
    Name: name,
    EventType: type,
    IsEmpty: payload.length === 0,
    PayloadSchemaVersion: version,
    Payload: payload,
  };
}

/** A snapshot, ready for its queue. It counts as one, however many rows it has. */
export function snapshotEvent(collector: Collector, payload: readonly Payload[], time: Date): OutgoingEvent {
  return {
    name: collector.name,
    elements: 1,
    occurrences: 1,
    json: JSON.stringify(envelope(collector, payload, time)),
  };
}

/** One occurrence, with its own time; `id` if the same occurrence may be read again. */
export function occurrenceEvent(collector: Collector, payload: Payload, time: Date, id?: string): OutgoingEvent {
  return {
    name: collector.name,
    elements: 1,
    occurrences: 1,
    json: JSON.stringify(envelope(collector, [payload], time, id)),
  };
}

const HEAD = /^\{"Id":"[^"]{36}","TimestampLocal":"[^"]{29}","TimestampUTC":"([^"]{24})"/;

/**
 * The time of an event, `2024-05-01T12:00:00.000Z`, without parsing the whole JSON, which may be long.
 *
 * @param json as `envelope` makes it
 */
export const timeIn = (json: string): string | undefined => HEAD.exec(json)?.[1];

/**
 * RFC 3339 with the offset that the device's zone has at that instant, `2024-05-01T14:00:00.000+02:00`.
 * Source: RFC 3339, 5.6; getTimezoneOffset counts minutes from local time to UTC, so its sign is turned.
 */
export function localTime(time: Date): string {
  const offset = -time.getTimezoneOffset();
  const shifted = new Date(time.getTime() + offset * 60_000).toISOString().slice(0, -1);
  const size = Math.abs(offset);
  const two = (n: number) => String(n).padStart(2, '0');
  return `${shifted}${offset < 0 ? '-' : '+'}${two(Math.floor(size / 60))}:${two(size % 60)}`;
}
