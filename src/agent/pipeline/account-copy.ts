import { crc32 } from 'node:zlib'; // Node 20.15, 22.2 or later
import { UNIDENTIFIED } from '../../core/base/counters.ts';
import type { Logger } from '../../core/base/log.ts';
import type { Service } from '../../core/base/service.ts';
import { isCount } from '../../core/base/values.ts';
import { QUEUES, type QueueName } from '../../core/contract/event.ts';
import { NoteFile } from '../state/note-file.ts';
import type { Aggregator } from './aggregator.ts';
import type { EventQueues } from './queue.ts';

/** More than the counts of all events take. */
const FILE_BYTES = 4096;

type Collected = Record<string, number>;

/**
 * A copy of the numbers of collected events, by event name, in a small file of its own.
 *
 * The files of the queues and of the counts also contain the account. When such a file is lost or damaged, an
 * older account may be recovered, which balances without the lost events. The copy shows how many are missing: they are
 * counted as collected and dropped, `corrupt`. It is written after the data that it counts, so it is never ahead of them
 * after `kill -9`.
 */
export class AccountCopy implements Service {
  readonly name = 'copy of the accounts';
  readonly #note: NoteFile;
  readonly #queues: Pick<EventQueues, 'account' | 'drop' | 'damaged'>;
  readonly #aggregator: Pick<Aggregator, 'pending' | 'damaged' | 'hasUnsaved'>;
  readonly #log: Logger;
  #isStarted = false;
  #willWrite = false;

  constructor(options: {
    note: NoteFile;
    queues: Pick<EventQueues, 'account' | 'drop' | 'damaged'>;
    aggregator: Pick<Aggregator, 'pending' | 'damaged' | 'hasUnsaved'>;
    log: Logger;
  }) {
    this.#note = options.note;
    this.#queues = options.queues;
    this.#aggregator = options.aggregator;
    this.#log = options.log;
  }

  /** Opens the file for a copy of the accounts. */
  static noteIn(path: string, writer: ConstructorParameters<typeof NoteFile>[1]): NoteFile {
    return new NoteFile(path, writer, { bytes: FILE_BYTES });
  }

  /** Counts what is missing. Must be started after the queues and the counts were recovered, before events are collected. */
  async start(): Promise<void> {
    this.#countMissing(this.#read());
    this.#isStarted = true;
    this.changed();
  }

  async stop(): Promise<void> {
    this.#write();
    this.#isStarted = false;
  }

  /** Call this when events have been queued, dropped or counted. */
  changed(): void {
    if (this.#willWrite || !this.#isStarted) return;
    this.#willWrite = true;
    setImmediate(() => {
      this.#willWrite = false;
      if (this.#isStarted) this.#write();
    });
  }

  #write(): void {
    if (!this.#isStarted || this.#aggregator.hasUnsaved) return;
    const collected = this.#collected();
    this.#note.write({ collected, crc: crcOf(collected) });
  }

  #collected(): Collected {
    const collected: Collected = {};
    const add = (name: string, count: number) => {
      collected[name] = (collected[name] ?? 0) + count;
    };
    for (const queue of QUEUES) {
      for (const [name, row] of Object.entries(this.#queues.account(queue).byEvent)) add(name, row.collected);
      for (const [name, { occurrences }] of Object.entries(this.#aggregator.pending(queue))) add(name, occurrences);
    }
    return collected;
  }

  #read(): Collected {
    const { collected, crc } = Object(this.#note.read()) as { collected?: unknown; crc?: unknown };
    if (typeof collected !== 'object' || collected === null || crc !== crcOf(collected)) return {};
    return Object.fromEntries(Object.entries(collected).filter(([, count]) => isCount(count)));
  }

  #countMissing(copy: Collected): void {
    const found = this.#collected();
    // What a recovery has found missing is already counted, under no name.
    let known = (found[UNIDENTIFIED] ?? 0) - (copy[UNIDENTIFIED] ?? 0);
    const missing: Collected = {};
    for (const [name, count] of Object.entries(copy)) {
      const difference = count - (found[name] ?? 0);
      if (difference <= 0) continue;
      const unknown = difference - Math.min(difference, Math.max(0, known));
      known -= difference - unknown;
      if (unknown > 0) missing[name] = unknown;
    }
    for (const [name, count] of Object.entries(missing)) this.#queues.drop(this.#queueOf(name), name, 'corrupt', count);
    if (Object.keys(missing).length === 0) return;
    const files = [...this.#queues.damaged, ...this.#aggregator.damaged];
    this.#log.error(
      { missing, files },
      'Found fewer events than were collected; the missing ones are counted as dropped.',
    );
  }

  #queueOf(name: string): QueueName {
    return QUEUES.find((queue) => this.#queues.account(queue).byEvent[name] !== undefined) ?? 'Low';
  }
}

const crcOf = (collected: object): number => crc32(JSON.stringify(collected));
