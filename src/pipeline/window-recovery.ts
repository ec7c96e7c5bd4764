import { days } from '../base/duration.ts';
import { errnoOf } from '../base/errors.ts';
import { type Payload, QUEUES, type QueueName } from '../contract/event.ts';
import type { Element } from './element-table.ts';
import { isHeadedBy, readFrames } from './framing.ts';
import type { StoreFiles } from './store-files.ts';
import type { Kind } from './window.ts';
import { COMPLETE, COUNTS, ELEMENT, ENDED, LATEST, LEAVE, LOG_HEAD, LogReader, OPEN } from './window-records.ts';

/* Reads a window log back; window-log.ts says how it was written. */

/** More than all tables and one that is leaving may hold: what goes beyond comes from no agent. */
const MOST_BYTES_READ = 4 * 1024 * 1024;
const MOST_WINDOWS_READ = 100;
const MOST_ELEMENTS_READ = 2 ** 24;

const NAME = /^([0-9a-f]{16})\.log$/;

/** A window as it was found on disk. */
export interface FoundWindow {
  readonly kind: Kind;
  readonly queue: QueueName;
  readonly interval: number;
  /** Milliseconds since the epoch. */
  readonly closesAt: number;
  readonly elements: Element[];
  /** Events that were about to be put and are not in the queue; their elements are among the above. */
  readonly leaving: { readonly id: string; readonly elements: readonly Element[] }[];
}

export interface Found {
  readonly windows: readonly FoundWindow[];
  /** Occurrences whose element was damaged. */
  readonly lost: number;
  /** Files of unknown kind or format version. They are never touched. */
  readonly keptAside: readonly string[];
}

interface ReadLog extends Found {
  /** Of the log's own files, the newest first. */
  readonly paths: string[];
  /** The number of the next one. */
  readonly nextFile: number;
}

/** @throws what the file system says when the folder or a file cannot be read at all; damage (EIO) is skipped */
export function readLog(files: StoreFiles, folder: string, next: (queue: QueueName) => number): ReadLog {
  const ours: { number: number; path: string; size: number }[] = [];
  const keptAside: string[] = [];
  let nextFile = 0;
  for (const { name, size } of files.list(folder)) {
    const number = Number.parseInt(NAME.exec(name)?.[1] ?? '', 16);
    if (Number.isSafeInteger(number)) nextFile = Math.max(nextFile, number + 1);
    const path = `${folder}/${name}`;
    if (Number.isSafeInteger(number) && isHeadedBy(LOG_HEAD, files, path)) ours.push({ number, path, size });
    else keptAside.push(name);
  }
  ours.sort((a, b) => b.number - a.number);
  const paths = ours.map(({ path }) => path);
  let best: Reading | undefined;
  for (const { path, size } of ours) {
    const reading = new Reading(files, path, size, next);
    if (reading.isComplete || best === undefined) best = reading;
    if (reading.isComplete) break;
  }
  const { windows, lost } = best?.result() ?? { windows: [], lost: 0 };
  return { windows, lost, keptAside: keptAside.sort(), paths, nextFile };
}

interface Leave {
  readonly queue: QueueName;
  readonly next: number;
  readonly events: { readonly id: string; readonly window: number; readonly elements: readonly number[] }[];
  /** The queue's next position after an event, where it was not the one to be expected. */
  readonly ended: Map<number, number>;
}

/** What the records of one file come to. */
class Reading {
  isComplete = false;
  readonly #windows = new Map<number, FoundWindow>();
  readonly #elements = new Map<number, { element: Element; window: number }>();
  /** Elements whose counts are known, but not what they are. */
  readonly #unknown = new Map<number, number>();
  readonly #next: (queue: QueueName) => number;
  readonly #left = new Set<number>();
  /** The last one, which an `ended` may still correct. */
  #leave: Leave | undefined;
  #nextElement = 0;
  /** Of the payloads of elements that have not left. */
  #bytes = 0;

  /** @param next the next position of a queue */
  constructor(files: StoreFiles, path: string, size: number, next: (queue: QueueName) => number) {
    this.#next = next;
    try {
      for (const { body } of readFrames(files, path, LOG_HEAD.length, size)) {
        try {
          this.#take(body[0], new LogReader(body));
        } catch {
          // A record that says what cannot be is as good as none; its neighbours are read all the same.
        }
      }
    } catch (error) {
      if (errnoOf(error) !== 'EIO') throw error;
    }
  }

  /** Decides about the events of the last leave, by the queue's next position. */
  #decide(): void {
    const leave = this.#leave;
    this.#leave = undefined;
    if (leave === undefined) return;
    let position = leave.next;
    for (const [index, { id, window, elements }] of leave.events.entries()) {
      const ended = leave.ended.get(index);
      // Corrected: it was dropped when the position has stayed, and is counted by the queue. Else it has the last one at
      // most: the first may have been burnt.
      const isIn = ended === position || (ended ?? position + 1) <= this.#next(leave.queue);
      position = ended ?? position + 1;
      const known = elements.flatMap((number) => this.#elements.get(number) ?? []);
      if (isIn) for (const number of elements) this.#forget(number);
      else if (known.length > 0)
        this.#windows.get(window)?.leaving.push({ id, elements: known.map(({ element }) => element) });
    }
  }

  #forget(number: number): void {
    this.#left.add(number);
    this.#bytes -= this.#elements.get(number)?.element.bytes ?? 0;
    this.#elements.delete(number);
  }

  #forgetEmptyWindows(): void {
    const inUse = new Set([...this.#elements.values()].map(({ window }) => window));
    for (const number of this.#windows.keys()) if (!inUse.has(number)) this.#windows.delete(number);
  }

  result(): Pick<Found, 'windows' | 'lost'> {
    this.#decide();
    let lost = 0;
    for (let number = 0; number < this.#nextElement; number += 1) {
      if (this.#left.has(number)) continue;
      const { element, window = -1 } = this.#elements.get(number) ?? {};
      const found = this.#windows.get(window);
      if (element !== undefined && found !== undefined) found.elements.push(element);
      else lost += element?.hits ?? this.#unknown.get(number) ?? 1; // nothing is known of it but that it was there
    }
    const windows = [...this.#windows.values()].filter(({ elements }) => elements.length > 0);
    return { windows, lost };
  }

  #take(type: number | undefined, record: LogReader): void {
    if (type === OPEN) this.#open(record.text());
    else if (type === ELEMENT) this.#element(record);
    else if (type === COUNTS) while (record.more) this.#counts(record);
    else if (type === LEAVE) this.#leaving(record);
    else if (type === ENDED) this.#leave?.ended.set(record.number(), record.number());
    else if (type === COMPLETE) this.isComplete = true;
  }

  #open(json: string): void {
    const { window, name, type, version, queue, interval, closesAt } = JSON.parse(json) as Record<string, unknown>;
    if (this.#windows.size >= MOST_WINDOWS_READ) this.#forgetEmptyWindows();
    if (typeof window !== 'number' || this.#windows.size >= MOST_WINDOWS_READ) return;
    if (typeof name !== 'string' || typeof version !== 'string') return;
    if (type !== 'Security' && type !== 'Operational' && type !== 'Diagnostic') return;
    if (queue !== 'High' && queue !== 'Low') return;
    if (typeof interval !== 'number' || !(interval > 0 && interval <= days(366))) return;
    if (typeof closesAt !== 'number' || !(Math.abs(closesAt) <= 2 * LATEST)) return;
    const kind: Kind = { name, category: 'Triggered', type, version };
    this.#windows.set(window, { kind, queue, interval, closesAt, elements: [], leaving: [] });
  }

  #element(record: LogReader): void {
    const number = this.#numberOf(record);
    const window = record.number();
    const counts = record.counts();
    this.#unknown.set(number, counts.hits);
    const json = record.text();
    const bytes = Buffer.byteLength(json);
    if (this.#bytes + bytes > MOST_BYTES_READ) return;
    const payload: unknown = JSON.parse(json);
    if (typeof payload !== 'object' || payload === null || Array.isArray(payload)) return;
    const { ExtraDetails: details } = payload as Payload;
    if (details !== undefined && (typeof details !== 'object' || details === null)) return;
    const element = { payload: payload as Payload, bytes, ...counts };
    this.#bytes += bytes - (this.#elements.get(number)?.element.bytes ?? 0);
    this.#unknown.delete(number);
    this.#elements.set(number, { window, element: { ...element, number: -1, changed: false } });
  }

  #numberOf(record: LogReader): number {
    const number = record.number();
    if (number >= MOST_ELEMENTS_READ) throw new RangeError('There cannot be so many elements.');
    this.#nextElement = Math.max(this.#nextElement, number + 1);
    return number;
  }

  #counts(record: LogReader): void {
    const number = this.#numberOf(record);
    const counts = record.counts();
    const known = this.#elements.get(number)?.element;
    if (known === undefined) this.#unknown.set(number, counts.hits);
    else Object.assign(known, counts);
  }

  #leaving(record: LogReader): void {
    const queue = QUEUES[record.number()];
    const next = record.number();
    const events: Leave['events'] = [];
    while (record.more) {
      const id = record.id();
      const window = record.number();
      const elements: number[] = [];
      for (let left = record.number(); left > 0; left -= 1) elements.push(record.number());
      events.push({ id, window, elements });
    }
    this.#decide();
    if (queue !== undefined) this.#leave = { queue, next, events, ended: new Map() };
  }
}
