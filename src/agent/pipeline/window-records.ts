import { QUEUES, type QueueName } from '../../core/contract/event.ts';
import type { Element } from './element-table.ts';
import { FrameWriter } from './framing.ts';
import type { Window } from './window.ts';

/* The records of a window log file; their meaning is described in window-log.ts. */

const FORMAT_VERSION = 1;
export const LOG_HEAD = Buffer.from(`VaktAgg${String.fromCharCode(FORMAT_VERSION)}`, 'latin1');

export const OPEN = 1;
export const ELEMENT = 2;
export const COUNTS = 3;
export const LEAVE = 4;
export const ENDED = 5;
export const COMPLETE = 6;

/** Maximum bytes of a number. */
const LONGEST_NUMBER = 8;
const ID = 16;
/** Times further from 1970 than this, in milliseconds, are invalid: the year 73326. */
export const LATEST = 2 ** 51;

/** An event that is about to be put into its queue. */
export interface Leaving {
  readonly id: string;
  readonly window: Window;
  readonly elements: readonly Element[];
}

/** Composes records. */
export class LogWriter extends FrameWriter {
  #at = 0;

  open({ kind, queue, interval, number }: Window, closesAt: number, window = number): void {
    const { name, type, version } = kind;
    const json = JSON.stringify({ window, name, type, version, queue, interval, closesAt: Math.round(closesAt) });
    const start = this.#begin(OPEN, 3 * json.length);
    this.#at += this.buffer.write(json, this.#at);
    this.end(this.#at - start);
  }

  element(number: number, window: number, element: Element): void {
    const json = JSON.stringify(element.payload);
    const start = this.#begin(ELEMENT, 5 * LONGEST_NUMBER + Buffer.byteLength(json));
    this.#number(number);
    this.#number(window);
    this.#counts(element);
    this.#at += this.buffer.write(json, this.#at);
    this.end(this.#at - start);
  }

  counts(elements: readonly Element[]): void {
    if (elements.length === 0) return;
    const start = this.#begin(COUNTS, 4 * LONGEST_NUMBER * elements.length);
    for (const element of elements) {
      this.#number(element.number);
      this.#counts(element);
    }
    this.end(this.#at - start);
  }

  leave(queue: QueueName, next: number, events: readonly Leaving[]): void {
    const numbers = events.reduce((all, { elements }) => all + 2 + elements.length, 2);
    const start = this.#begin(LEAVE, numbers * LONGEST_NUMBER + events.length * ID);
    this.#number(QUEUES.indexOf(queue));
    this.#number(next);
    for (const { id, window, elements } of events) {
      this.#at += this.buffer.write(id.replaceAll('-', ''), this.#at, 'hex');
      this.#number(window.number);
      this.#number(elements.length);
      for (const { number } of elements) this.#number(number);
    }
    this.end(this.#at - start);
  }

  ended(index: number, next: number): void {
    const start = this.#begin(ENDED, 2 * LONGEST_NUMBER);
    this.#number(index);
    this.#number(next);
    this.end(this.#at - start);
  }

  complete(): void {
    const start = this.#begin(COMPLETE, 0);
    this.end(this.#at - start);
  }

  #begin(type: number, most: number): number {
    const start = this.begin(1 + most);
    this.buffer[start] = type;
    this.#at = start + 1;
    return start;
  }

  #counts({ hits, first, last }: Element): void {
    this.#number(hits);
    this.#signed(first);
    this.#number(last - first);
  }

  #signed(value: number): void {
    this.#number(value < 0 ? -2 * value - 1 : 2 * value);
  }

  #number(value: number): void {
    let rest = value;
    while (rest >= 0x80) {
      this.buffer[this.#at++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.buffer[this.#at++] = rest;
  }
}

/** Parses a body. @throws RangeError when it ends too early or has an invalid value */
export class LogReader {
  readonly #body: Buffer;
  #at = 1; // after the type

  constructor(body: Buffer) {
    this.#body = body;
  }

  get more(): boolean {
    return this.#at < this.#body.length;
  }

  number(): number {
    let value = 0;
    for (let unit = 1; ; unit *= 0x80) {
      const byte = this.#body[this.#at++];
      if (byte === undefined) throw new RangeError('The record ends within a number.');
      value += (byte % 0x80) * unit;
      if (!Number.isSafeInteger(value)) throw new RangeError('A number is too large.');
      if (byte < 0x80) return value;
    }
  }

  signed(): number {
    const value = this.number();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }

  counts(): Pick<Element, 'hits' | 'first' | 'last'> {
    const hits = this.number();
    const first = this.signed();
    const last = first + this.number();
    if (hits < 1 || !(first > -LATEST && last < LATEST)) throw new RangeError('The counts are invalid.');
    return { hits, first, last };
  }

  id(): string {
    const hex = this.#body.toString('hex', this.#at, this.#at + ID);
    if (hex.length !== 2 * ID) throw new RangeError('The record ends within an id.');
    this.#at += ID;
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
  }

  text(): string {
    return this.#body.toString('utf8', this.#at);
  }
}
