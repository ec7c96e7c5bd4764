import type { Duration } from '../../core/base/duration.ts';
import type { Aggregation, Collector } from '../../core/contract/collector.ts';
import type { Payload, QueueName } from '../../core/contract/event.ts';
import { type Element, ElementTable } from './element-table.ts';

/** The collector's part of an envelope: enough for a recovered window whose collector no longer exists. */
export type Kind = Pick<Collector, 'name' | 'category' | 'type' | 'version'>;

/** The elements counted for one event since its window opened. */
export class Window {
  readonly kind: Kind;
  readonly queue: QueueName;
  readonly interval: Duration;
  /** Monotonic clock. */
  readonly closesAt: Duration;
  readonly elements = new Set<Element>();
  /** Occurrences. */
  hits = 0;
  /** Bytes of the elements' JSON. */
  bytes = 0;
  /** Its number in the current file of the window log; −1 if it is not in there. */
  number = -1;
  /** Elements that have changed since they were last written; may include elements that have left since. */
  changed: Element[] = [];
  #rule: Aggregation<Payload> | undefined;
  #table: ElementTable | undefined;

  constructor({ kind, queue, interval, closesAt }: Pick<Window, 'kind' | 'queue' | 'interval' | 'closesAt'>) {
    this.kind = kind;
    this.queue = queue;
    this.interval = interval;
    this.closesAt = closesAt;
  }

  /** The element equal to `payload`, by the rule of the event's collector. */
  find(rule: Aggregation<Payload>, payload: Payload): Element | undefined {
    if (this.#table === undefined || this.#rule !== rule) {
      this.#rule = rule;
      this.#table = new ElementTable(rule);
      for (const element of this.elements) this.#table.add(element);
    }
    return this.#table.find(payload);
  }

  /** Adds an element with its counts. */
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
