import type { Duration } from '../base/duration.ts';
import type { Aggregation, Collector } from '../contract/collector.ts';
import type { Payload, QueueName } from '../contract/event.ts';
import { type Element, ElementTable } from './element-table.ts';

/** What an event's envelope says of its collector: all that is needed of one that may no longer exist. */
export type Kind = Pick<Collector, 'name' | 'category' | 'type' | 'version'>;

/** What has been counted of one event since its window opened. */
export class Window {
  readonly kind: Kind;
  readonly queue: QueueName;
  readonly interval: Duration;
  /** By the monotonic clock. */
  readonly closesAt: Duration;
  readonly elements = new Set<Element>();
  /** Occurrences. */
  hits = 0;
  /** Of the elements' JSON. */
  bytes = 0;
  /** Which one it is in the file of the log that is being written; −1 when it isn't in there. */
  number = -1;
  /** Its elements that have changed since they were last written, and maybe some that have left since. */
  changed: Element[] = [];
  #rule: Aggregation<Payload> | undefined;
  #table: ElementTable | undefined;

  constructor({ kind, queue, interval, closesAt }: Pick<Window, 'kind' | 'queue' | 'interval' | 'closesAt'>) {
    this.kind = kind;
    this.queue = queue;
    this.interval = interval;
    this.closesAt = closesAt;
  }

  /** The element that says the same as `payload`, by the rule of the event's collector. */
  find(rule: Aggregation<Payload>, payload: Payload): Element | undefined {
    if (this.#table === undefined || this.#rule !== rule) {
      this.#rule = rule;
      this.#table = new ElementTable(rule);
      for (const element of this.elements) this.#table.add(element);
    }
    return this.#table.find(payload);
  }

  /** Takes in an element with its counts. */
  add(element: Element): void {
    this.elements.add(element);
    this.hits += element.hits;
    this.bytes += element.bytes;
    this.#table?.add(element);
    this.touch(element);
  }

  /** Counts one more occurrence. */
  count(element: Element, at: number): void {
    this.hits += 1;
    element.hits += 1;
    if (at < element.first) element.first = at;
    if (at > element.last) element.last = at;
    if (!element.changed) this.touch(element);
  }

  remove(element: Element): void {
    if (!this.elements.delete(element)) return;
    this.hits -= element.hits;
    this.bytes -= element.bytes;
    this.#table?.delete(element);
    element.changed = false;
  }

  touch(element: Element): void {
    element.changed = true;
    this.changed.push(element);
  }
}
