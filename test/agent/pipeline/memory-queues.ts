import { randomUUID } from 'node:crypto';
import { LiveSettings } from '../../../src/agent/config/twin-configuration.ts';
import type { EventQueues } from '../../../src/agent/pipeline/queue.ts';
import { type EventFilter, isWanted } from '../../../src/agent/pipeline/store.ts';
import type { DropReason } from '../../../src/core/base/counters.ts';
import { type Duration, days, hours } from '../../../src/core/base/duration.ts';
import { createLog, type Logger, type LogLine } from '../../../src/core/base/log.ts';
import type { QueueName } from '../../../src/core/contract/event.ts';
import { type Settings, settingRows } from '../../../src/core/contract/settings.ts';
import type { OutgoingEvent, QueuedEvent } from '../../../src/core/contract/store.ts';
import { publishedObject } from '../../../src/core/twin/published-object.ts';
import { readDefaults } from '../../../src/core/twin/twin.ts';

type Queues = Pick<EventQueues, 'put' | 'drop' | 'take' | 'hasTaken' | 'settle' | 'waiting' | 'positions' | 'onPut'>;

/** Queues that forget: what EventQueues promises, without a disk and without a limit. */
export class MemoryQueues implements Queues {
  /** Everything that was put, by queue, whatever became of it since. */
  readonly put_: Record<QueueName, OutgoingEvent[]> = { High: [], Low: [] };
  readonly dropped: [queue: QueueName, name: string, reason: DropReason, count: number][] = [];
  /** What taken events came to, in order. */
  readonly settled: [queue: QueueName, outcome: string, events: number][] = [];
  readonly #waiting: Record<QueueName, QueuedEvent[]> = { High: [], Low: [] };
  readonly #taken: Record<QueueName, readonly QueuedEvent[]> = { High: [], Low: [] };
  readonly #listeners: (() => void)[] = [];
  /** As if the disk could not be read. */
  unreadable = false;

  /** Simulates full queues. */
  full = false;

  put(queue: QueueName, events: readonly OutgoingEvent[]): number {
    if (this.full) return 0;
    for (const event of events) {
      const jsonBytes = Buffer.byteLength(event.json);
      this.#waiting[queue].push({ ...event, position: this.put_[queue].length, jsonBytes });
      this.put_[queue].push(event);
    }
    for (const listener of this.#listeners) listener();
    return events.length;
  }

  drop(queue: QueueName, name: string, reason: DropReason, count: number): void {
    this.dropped.push([queue, name, reason, count]);
  }

  take(queue: QueueName, roomBytes: number, atLeastOne: boolean, wanted: EventFilter = {}): readonly QueuedEvent[] {
    if (this.#taken[queue].length > 0) throw new Error('taken already');
    const taken: QueuedEvent[] = [];
    let bytes = 0;
    for (const event of this.unreadable ? [] : this.#waiting[queue]) {
      if (!isWanted(event, wanted)) continue;
      const { position, jsonBytes, json } = event;
      if (wanted.accepts?.({ position, bytes: jsonBytes, json: () => json }) === false) continue;
      bytes += event.jsonBytes + 1;
      if (bytes > roomBytes && !(atLeastOne && taken.length === 0)) break;
      taken.push(event);
      if (bytes > roomBytes) break;
    }
    this.#taken[queue] = taken;
    return taken;
  }

  hasTaken(queue: QueueName): boolean {
    return this.#taken[queue].length > 0;
  }

  settle(queue: QueueName, outcome: 'delivered' | 'kept' | DropReason, only?: ReadonlySet<number>): void {
    const taken = this.#taken[queue];
    if (taken.length === 0) throw new Error('none are taken');
    const settled = taken.filter(({ position }) => only?.has(position) ?? true);
    if (outcome !== 'kept') this.#waiting[queue] = this.#waiting[queue].filter((event) => !settled.includes(event));
    if (settled.length > 0) this.settled.push([queue, outcome, settled.length]);
    this.#taken[queue] = [];
  }

  waiting(queue: QueueName): { events: number; elements: number; bytes: number } {
    const events = this.#waiting[queue];
    return {
      events: events.length,
      elements: events.reduce((all, { elements }) => all + elements, 0),
      bytes: events.reduce((all, { jsonBytes }) => all + jsonBytes, 0),
    };
  }

  positions(queue: QueueName): { next: number; lasting: number } {
    const { length } = this.put_[queue];
    return { next: length, lasting: length };
  }

  onPut(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** The envelopes that were put into a queue. */
  envelopes(queue: QueueName) {
    return this.put_[queue].map(({ json }) => JSON.parse(json));
  }
}

/** An event of about `bytes` of JSON. */
export function eventOf(bytes: number, name = 'Login'): OutgoingEvent {
  const empty = JSON.stringify({ Id: randomUUID(), Name: name, Payload: [{ Message: '' }] });
  const json = empty.replace('""', `"${'x'.repeat(Math.max(0, bytes - empty.length))}"`);
  return { name, elements: 1, occurrences: 1, json };
}

const DEFAULTS = readDefaults(publishedObject(settingRows([]))).settings;

/** The defaults, without events, and with the smallest messages. */
export const someSettings = (change: Partial<Settings> = {}): Settings => ({
  ...DEFAULTS,
  maxMessageSizeInBytes: 8192,
  ...change,
});

/** Settings that decide how these events are aggregated. */
export const aggregating = (
  events: readonly string[],
  interval: Duration = hours(1),
  enabled = true,
): Pick<Settings, 'aggregationEnabled' | 'aggregationInterval'> => ({
  aggregationEnabled: Object.fromEntries(events.map((event) => [event, enabled])),
  aggregationInterval: Object.fromEntries(events.map((event) => [event, interval])),
});

export const liveSettings = (change: Partial<Settings> = {}) => new LiveSettings(someSettings(change));

/** A log that goes nowhere but into `lines`. */
export const quietLog = (lines: LogLine[] = []): Logger =>
  createLog({ level: 'silent', tap: { level: 'debug', accept: (line) => lines.push(line) } });

export const LONG = days(30);
