import { hash } from 'node:crypto';
import { Alarm } from '../base/alarm.ts';
import type { Clock } from '../base/clock.ts';
import { type Duration, days, hours, milliseconds } from '../base/duration.ts';
import type { Logger } from '../base/log.ts';
import { keepGoing } from '../base/loop.ts';
import type { Service } from '../base/service.ts';
import type { TriggeredCollector } from '../contract/collector.ts';
import type { Payload, QueueName } from '../contract/event.ts';
import type { Settings, SettingsReader } from '../contract/settings.ts';
import type { OutgoingEvent } from '../contract/store.ts';
import { envelope, localTime } from './envelope.ts';

/** Distinct elements a window may hold; with one more it is flushed early. Each costs some 250 bytes besides its text. */
const MOST_ELEMENTS = 10_000;
/** Bytes of JSON that all windows together may hold; with more, the one that holds most is flushed early. */
const MOST_BYTES_HELD = 1024 * 1024;
/** A longer key gives way to its digest: command lines may have 128 KiB, and hashing a short one costs more than it saves. */
const LONGEST_KEY = 400;

/**
 * The elements of an event of a flushed window stay below this, so that it fits into the smallest message a twin may ask
 * for, and need never be cut. One element alone may be longer.
 *
 * Of 8192 bytes the message's properties take at most 645 (512 of them hubResourceId), what its body begins and ends
 * with 145, the event's envelope 300: 8090 with the elements. A test holds each of these.
 */
const MOST_BYTES = 7_000;

/** What a date can hold, less a day for the zone's offset. Source: ECMAScript, "Time Values and Time Range". */
const LATEST = 8.64e15 - days(1);

interface Element {
  /**
   * The payload as JSON. It is a text of its own: a payload's fields are mostly parts of a record's text, and V8 keeps
   * the whole record in memory as long as one of its parts is held.
   */
  readonly json: string;
  hits: number;
  /** Milliseconds since the Unix epoch. */
  first: number;
  last: number;
}

/** What has been counted of one event since its window opened. */
interface Window {
  readonly collector: TriggeredCollector;
  readonly queue: QueueName;
  readonly closesAt: Duration;
  readonly elements: Map<string, Element>;
  hits: number;
  /** Of its elements' JSON. */
  bytes: number;
}

/**
 * Counts occurrences that say the same instead of listing them (contract §5).
 *
 * A window opens with the first occurrence of an event and closes after the event's `aggregationInterval`, at a change
 * of a setting that concerns it, or when it is full. It then becomes one event, or as many as its size needs, with one
 * element for each distinct payload.
 */
export class Aggregator implements Service {
  readonly name = 'aggregator';
  readonly #windows = new Map<string, Window>();
  readonly #alarm = new Alarm();
  readonly #stop = new AbortController();
  readonly #settings: SettingsReader;
  readonly #clock: Clock;
  readonly #put: (queue: QueueName, events: readonly OutgoingEvent[]) => void;
  readonly #log: Logger;
  #loop: Promise<void> = Promise.resolve();

  constructor({
    settings,
    clock,
    put,
    log,
  }: {
    settings: SettingsReader;
    clock: Clock;
    put: (queue: QueueName, events: readonly OutgoingEvent[]) => void;
    log: Logger;
  }) {
    this.#settings = settings;
    this.#clock = clock;
    this.#put = put;
    this.#log = log;
    settings.onChange((before) => this.#flushWhatChanged(before));
  }

  async start(): Promise<void> {
    this.#loop = keepGoing((signal) => this.#turn(signal), {
      signal: this.#stop.signal,
      clock: this.#clock,
      log: this.#log,
    });
  }

  /** Queues what has been counted so far: an ended window loses nothing. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
    for (const name of [...this.#windows.keys()]) this.#flush(name);
  }

  /**
   * Counts one occurrence of an event that can be aggregated.
   *
   * @throws Error when it cannot be counted; then it isn't
   */
  add(collector: TriggeredCollector, queue: QueueName, payload: Payload, time: Date): void {
    const { aggregate, name } = collector;
    if (aggregate === undefined) throw new TypeError(`${name} cannot be aggregated`);
    const at = time.getTime();
    if (!(Math.abs(at) < LATEST)) throw new RangeError(`${name} has no valid time`);
    const alike = aggregate.blank(payload);
    const key = keyOf(aggregate.by.map((field) => alike[field]));
    const known = this.#windows.get(name)?.elements.get(key);
    const json = known === undefined ? JSON.stringify(alike) : '';
    // From here on nothing throws, so that what is counted as pending is not counted as dropped as well.
    const window = this.#windows.get(name) ?? this.#open(collector, queue);
    window.hits += 1;
    if (known === undefined) {
      window.elements.set(key, { json, hits: 1, first: at, last: at });
      window.bytes += Buffer.byteLength(json);
      this.#keepSmall(window);
    } else {
      known.hits += 1;
      known.first = Math.min(known.first, at);
      known.last = Math.max(known.last, at);
    }
  }

  /** What is counted and not yet queued, by event: occurrences, and the elements they will become. */
  pending(queue: QueueName): Record<string, { occurrences: number; elements: number }> {
    const windows = [...this.#windows.values()].filter((window) => window.queue === queue);
    return Object.fromEntries(
      windows.map(({ collector, hits, elements }) => [collector.name, { occurrences: hits, elements: elements.size }]),
    );
  }

  #open(collector: TriggeredCollector, queue: QueueName): Window {
    const interval = this.#settings.current().aggregation[collector.name]?.interval ?? hours(1);
    const closesAt = milliseconds(this.#clock.monotonic() + interval);
    const window: Window = { collector, queue, closesAt, elements: new Map(), hits: 0, bytes: 0 };
    this.#windows.set(collector.name, window);
    this.#alarm.ring();
    return window;
  }

  #keepSmall(grown: Window): void {
    if (grown.elements.size >= MOST_ELEMENTS) this.#flush(grown.collector.name);
    const windows = [...this.#windows.values()];
    if (windows.reduce((all, { bytes }) => all + bytes, 0) <= MOST_BYTES_HELD) return;
    const largest = windows.reduce((most, window) => (window.bytes > most.bytes ? window : most));
    this.#flush(largest.collector.name);
  }

  async #turn(signal: AbortSignal): Promise<void> {
    const now = this.#clock.monotonic();
    for (const [name, { closesAt }] of [...this.#windows]) if (closesAt <= now) this.#flush(name);
    const next = Math.min(...[...this.#windows.values()].map(({ closesAt }) => closesAt), now + hours(24));
    await this.#alarm.sleep(this.#clock, milliseconds(next - now), signal);
  }

  /** What was counted under the old settings is queued under the old settings. */
  #flushWhatChanged(before: Settings): void {
    const now = this.#settings.current();
    for (const name of [...this.#windows.keys()]) {
      const was = before.aggregation[name];
      const is = now.aggregation[name];
      const same = was?.enabled === is?.enabled && was?.interval === is?.interval;
      if (!same || before.priorities[name] !== now.priorities[name]) this.#flush(name);
    }
  }

  #flush(name: string): void {
    const window = this.#windows.get(name);
    if (window === undefined) return;
    const flushed = events(window, this.#clock.now());
    this.#windows.delete(name);
    this.#put(window.queue, flushed);
  }
}

/** Alike for occurrences that say the same, and for no others. A key is JSON and begins with `[`, a digest doesn't. */
function keyOf(fields: readonly unknown[]): string {
  const key = JSON.stringify(fields);
  return key.length <= LONGEST_KEY ? key : hash('sha256', key, 'base64');
}

function events({ collector, elements }: Window, time: Date): OutgoingEvent[] {
  const flushed: OutgoingEvent[] = [];
  let batch: { payload: Payload; hits: number }[] = [];
  let bytes = 0;
  const close = () => {
    if (batch.length === 0) return;
    flushed.push({
      name: collector.name,
      elements: batch.length,
      occurrences: batch.reduce((all, { hits }) => all + hits, 0),
      json: JSON.stringify(
        envelope(
          collector,
          batch.map(({ payload }) => payload),
          time,
        ),
      ),
    });
    batch = [];
    bytes = 0;
  };
  for (const element of elements.values()) {
    const payload = counted(element);
    const size = Buffer.byteLength(JSON.stringify(payload)) + 1;
    if (bytes + size > MOST_BYTES) close();
    batch.push({ payload, hits: element.hits });
    bytes += size;
  }
  close();
  return flushed;
}

function counted({ json, hits, first, last }: Element): Payload {
  const payload = JSON.parse(json) as Payload;
  const start = new Date(first);
  const end = new Date(last);
  return {
    ...payload,
    ExtraDetails: {
      ...(payload.ExtraDetails as Record<string, string> | undefined),
      HitCount: String(hits),
      StartTimeUtc: start.toISOString(),
      StartTimeLocal: localTime(start),
      EndTimeUtc: end.toISOString(),
      EndTimeLocal: localTime(end),
    },
  };
}
