import { basename } from 'node:path';
import { days } from '../../core/base/duration.ts';
import { errnoOf } from '../../core/base/errors.ts';
import { type Payload, QUEUES, type QueueName } from '../../core/contract/event.ts';
import { ownerOfPayload } from '../../core/contract/owner.ts';
import type { Element } from './element-table.ts';
import { readFrames } from './framing.ts';
import { type FoundFiles, findFiles } from './log-folder.ts';
import type { StoreFiles } from './store-files.ts';
import type { Kind } from './window.ts';
import { COMPLETE, COUNTS, ELEMENT, ENDED, LATEST, LEAVE, LOG_HEAD, LogReader, OPEN } from './window-records.ts';

/* Recovers a window log from its files; the format is described in window-log.ts. */

/** More than all tables, and one that is leaving, may contain: a log with more was not written by an agent. */
const MAX_BYTES_READ = 4 * 1024 * 1024;
const MAX_WINDOWS_READ = 100;
const MAX_ELEMENTS_READ = 2 ** 24;

/** In bytes; what is larger isn't a log of windows, and is not read. */
const MAX_LOG_BYTES = 64 * 1024 * 1024;

/** A window recovered from disk. */
export interface FoundWindow {
  readonly kind: Kind;
  readonly queue: QueueName;
  readonly interval: number;
  /** Milliseconds since the epoch. */
  readonly closesAt: number;
  readonly elements: Element[];
  /** Events of a leave that are not in the queue; their elements are among the above. */
  readonly leaving: { readonly id: string; readonly elements: readonly Element[] }[];
}

export interface RecoveredCounts {
  readonly windows: readonly FoundWindow[];
  /** Occurrences whose element was damaged. */
  readonly lost: number;
  /** Names of the log's files with bytes that cannot be read as records. A torn last write leaves some, too. */
  readonly damaged: readonly string[];
  /** Files of unknown kind or format version. They are never touched. */
  readonly keptAside: readonly string[];
}

/** @throws the file system's error when the folder cannot be read; a file that can't be read is skipped */
export function readLog(
  files: StoreFiles,
  folder: string,
  next: (queue: QueueName) => number,
): RecoveredCounts & FoundFiles {
  const found = findFiles(files, folder, LOG_HEAD, MAX_LOG_BYTES);
  let best: Reading | undefined;
  const damaged: string[] = [];
  for (const { path, size } of found.files.toReversed()) {
    const reading = new Reading(files, path, size, next);
    if (reading.bytesRead !== size) damaged.push(basename(path));
    if (reading.isComplete || best === undefined) best = reading;
    if (reading.isComplete) break;
  }
  const { windows, lost } = best?.result() ?? { windows: [], lost: 0 };
  return { windows, lost, damaged, ...found };
}

interface Leave {
  readonly queue: QueueName;
  readonly next: number;
  readonly events: { readonly id: string; readonly window: number; readonly elements: readonly number[] }[];
  /** The queue's next position after an event, if it was not the expected one. */
  readonly ended: Map<number, number>;
}

/** The state that the records of one file result in. */
class Reading {
  isComplete = false;
  bytesRead = LOG_HEAD.length;
  readonly #windows = new Map<number, FoundWindow>();
  readonly #elements = new Map<number, { element: Element; window: number }>();
  /** The counts of elements whose payload is missing or damaged. */
  readonly #unknown = new Map<number, number>();
  readonly #next: (queue: QueueName) => number;
  readonly #left = new Set<number>();
  /** The last leave, which an `ended` may still correct. */
  #leave: Leave | undefined;
  #nextElement = 0;
  /** Bytes of the payloads of elements that have not left. */
  #bytes = 0;

  /** @param next the next position of a queue */
  constructor(files: StoreFiles, path: string, size: number, next: (queue: QueueName) => number) {
    this.#next = next;
    try {
      for (const { start, end, body } of readFrames(files, path, LOG_HEAD.length, size)) {
        this.bytesRead += end - start;
        try {
          this.#take(body[0], new LogReader(body));
        } catch {
          // A record with an invalid value is skipped; the others are still read.
        }
      }
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
    }
  }

  /** Decides which events of the last leave are in the queue, by the queue's next position. */
  #decide(): void {
    const leave = this.#leave;
    this.#leave = undefined;
    if (leave === undefined) return;
    let position = leave.next;
    for (const [index, { id, window, elements }] of leave.events.entries()) {
      const ended = leave.ended.get(index);
      // A corrected event was dropped, and counted by the queue, if the next position did not change. Otherwise it has
      // at most the position before the corrected one: the first position may have been burnt.
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

  result(): Pick<RecoveredCounts, 'windows' | 'lost'> {
    this.#decide();
    let lost = 0;
    for (let number = 0; number < this.#nextElement; number += 1) {
      if (this.#left.has(number)) continue;
      const { element, window = -1 } = this.#elements.get(number) ?? {};
      const found = this.#windows.get(window);
      if (element !== undefined && found !== undefined) found.elements.push(element);
      else lost += element?.hits ?? this.#unknown.get(number) ?? 1; // only the element's number is known
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
    if (this.#windows.size >= MAX_WINDOWS_READ) this.#forgetEmptyWindows();
    if (typeof window !== 'number' || this.#windows.size >= MAX_WINDOWS_READ) return;
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
    if (this.#bytes + bytes > MAX_BYTES_READ) return;
    const payload: unknown = JSON.parse(json);
    if (typeof payload !== 'object' || payload === null || Array.isArray(payload)) return;
    const { ExtraDetails: details } = payload as Payload;
    if (details !== undefined && (typeof details !== 'object' || details === null)) return;
    const owner = ownerOfPayload(payload as Payload);
    const element = { payload: payload as Payload, bytes, owner, ...counts };
    this.#bytes += bytes - (this.#elements.get(number)?.element.bytes ?? 0);
    this.#unknown.delete(number);
    this.#elements.set(number, { window, element: { ...element, number: -1, changed: false } });
  }

  #numberOf(record: LogReader): number {
    const number = record.number();
    if (number >= MAX_ELEMENTS_READ) throw new RangeError('The log has more elements than an agent writes.');
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
