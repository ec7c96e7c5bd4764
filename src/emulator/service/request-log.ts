import { EventEmitter } from 'node:events';
import type { Clock } from '../../core/base/clock.ts';
import { type Duration, minutes } from '../../core/base/duration.ts';
import { waitFor } from '../waiting.ts';
import type { ServiceFaultKind, ServiceTransport } from './faults.ts';

/** A request to a service, and how it was answered. Never contains a key, a token or a signature. */
export interface RequestRecord {
  readonly at: Date;
  /** By the monotonic clock, in milliseconds; for measuring the pace of requests. */
  readonly monotonic: number;
  readonly transport: ServiceTransport;
  /** Operation such as `register` or `sign`; `connect` for an MQTT CONNECT; `unknown` for another path. */
  readonly operation: string;
  /** The path of an HTTP request, or the topic of an MQTT message. */
  readonly path: string;
  /** The registration id or module id that the request is for. */
  readonly subject?: string;
  /** Omitted if the request was not answered. For `connect`, the CONNACK's return code. */
  readonly status?: number;
  /** The reason for a refusal. */
  readonly reason?: string;
  /** The fault that was applied. */
  readonly fault?: ServiceFaultKind;
}

/** Number of records kept; the oldest are removed first. */
const MAX_RECORDS = 10_000;

/** The requests to a service, oldest first. */
export class RequestLog {
  readonly all: RequestRecord[] = [];
  readonly #events = new EventEmitter().setMaxListeners(0);
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(record: Omit<RequestRecord, 'at' | 'monotonic'>): void {
    const entry = { at: this.#clock.now(), monotonic: this.#clock.monotonic(), ...record };
    this.all.push(entry);
    if (this.all.length > MAX_RECORDS) this.all.shift();
    this.#events.emit('request', entry);
  }

  /** Calls `listener` for each later request. */
  onRequest(listener: (record: RequestRecord) => void): void {
    this.#events.on('request', listener);
  }

  /** Resolves with the first matching request, among those before and after the call. */
  waitFor(predicate: (record: RequestRecord) => boolean, limit: Duration = minutes(1)): Promise<RequestRecord> {
    const source = { source: this.#events, event: 'request', existing: this.all, clock: this.#clock };
    return waitFor(source, predicate, limit);
  }
}
