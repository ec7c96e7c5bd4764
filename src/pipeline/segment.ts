import { crc32 } from 'node:zlib'; // Node 20.15, 22.2 or later
import { Account, DROP_REASONS, type DropReason, type Totals } from '../base/counters.ts';
import type { EventTally } from '../contract/store.ts';
import { Positions } from './positions.ts';
import type { StoreFiles } from './store-files.ts';

/*
 * What is inside a segment file; store.ts says what it means. All numbers little-endian.
 *
 *   head        'VaktLog', then the format version, one byte
 *   record      u32 length of the body │ u32 CRC-32 of the body │ body
 *   body        u8 type │ …
 *     1 event       u48 position │ u32 elements │ u32 occurrences │ u16 length of the name │ name │ envelope as JSON
 *     2 loss        the same; position 0, and the reason for the loss in the envelope's place
 *     3 checkpoint  JSON { next, done: [[from, to]…], account: { name: [collected, delivered, aggregatedAway, dropped] } }
 */
const FORMAT_VERSION = 1;
export const SEGMENT_HEAD = Buffer.from(`VaktLog${String.fromCharCode(FORMAT_VERSION)}`, 'latin1');

const FRAME = 8;
const EVENT = 1;
const LOSS = 2;
const CHECKPOINT = 3;
const POSITION_AT = 1;
const ELEMENTS_AT = 7;
const OCCURRENCES_AT = 11;
const NAME_LENGTH_AT = 15;
const NAME_AT = 17;

/** A length beyond this is taken for damage. No event comes near it. */
const LONGEST_BODY = 16 * 1024 * 1024;
const READ_AHEAD = 64 * 1024;

/** Events that were counted but are not, or no longer, in the queue. */
export interface Loss extends EventTally {
  readonly reason: DropReason;
}

/** The state of a log at one point of it: what came before matters only for the events' own bytes. */
export interface Checkpoint {
  /** The position the next event gets. */
  readonly next: number;
  readonly done: Positions;
  readonly account: Account;
}

interface Place {
  /** Of the record's first byte in its file. */
  readonly start: number;
  /** Of the first byte behind it. */
  readonly end: number;
}

export type StoredRecord = Place &
  (
    | (EventTally & { readonly type: 'event'; readonly position: number; readonly bytes: number; json(): string })
    | (Loss & { readonly type: 'loss' })
    | { readonly type: 'checkpoint'; readonly checkpoint: Checkpoint }
  );

/** What an event's record takes on disk; `jsonBytes` is the size of its envelope. */
export const recordSize = (name: string, jsonBytes: number): number =>
  FRAME + NAME_AT + Buffer.byteLength(name) + jsonBytes;

/** Puts records one behind the other into a buffer that is used again and again. */
export class RecordWriter {
  #buffer = Buffer.allocUnsafeSlow(READ_AHEAD);
  #length = 0;

  /** Valid until the writer is used again. */
  get bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  clear(): void {
    this.#length = 0;
    if (this.#buffer.length > 4 * READ_AHEAD) this.#buffer = Buffer.allocUnsafeSlow(READ_AHEAD);
  }

  head(): void {
    this.#reserve(SEGMENT_HEAD.length);
    this.#length += SEGMENT_HEAD.copy(this.#buffer, this.#length);
  }

  event(position: number, tally: EventTally, json: string, jsonBytes: number): void {
    this.#tally(EVENT, position, tally, json, jsonBytes);
  }

  loss(loss: Loss): void {
    this.#tally(LOSS, 0, loss, loss.reason, loss.reason.length);
  }

  checkpoint(checkpoint: Checkpoint): void {
    const json = checkpointJson(checkpoint);
    const length = 1 + Buffer.byteLength(json);
    this.#reserve(FRAME + length);
    const body = this.#length + FRAME;
    this.#buffer[body] = CHECKPOINT;
    this.#buffer.write(json, body + 1);
    this.#frame(length);
  }

  #tally(type: number, position: number, tally: EventTally, text: string, textBytes: number): void {
    const nameBytes = Buffer.byteLength(tally.name);
    const length = NAME_AT + nameBytes + textBytes;
    this.#reserve(FRAME + length);
    const buffer = this.#buffer;
    const body = this.#length + FRAME;
    buffer[body] = type;
    buffer.writeUIntLE(position, body + POSITION_AT, 6);
    buffer.writeUInt32LE(tally.elements, body + ELEMENTS_AT);
    buffer.writeUInt32LE(tally.occurrences, body + OCCURRENCES_AT);
    buffer.writeUInt16LE(nameBytes, body + NAME_LENGTH_AT);
    buffer.write(tally.name, body + NAME_AT);
    buffer.write(text, body + NAME_AT + nameBytes);
    this.#frame(length);
  }

  #frame(length: number): void {
    const body = this.#length + FRAME;
    this.#buffer.writeUInt32LE(length, this.#length);
    this.#buffer.writeUInt32LE(crc32(this.#buffer.subarray(body, body + length)), this.#length + 4);
    this.#length = body + length;
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(2 * (this.#length + bytes));
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
  }
}

export const checkpointSize = (checkpoint: Checkpoint): number =>
  FRAME + 1 + Buffer.byteLength(checkpointJson(checkpoint));

/**
 * The intact records of a file between two offsets, in order.
 *
 * A record whose CRC is wrong is left out. Where its length makes no sense, nobody can tell where the next one begins,
 * and the rest of the file is left out; so is a torn last record. What is missing shows in the books, see recovery.ts.
 */
export function* readRecords(files: StoreFiles, path: string, from: number, to: number): Generator<StoredRecord> {
  let buffer = Buffer.alloc(0);
  let bufferAt = from;
  let at = from;
  const there = (bytes: number): boolean => {
    if (at + bytes > to) return false;
    if (at + bytes <= bufferAt + buffer.length) return true;
    buffer = Buffer.allocUnsafeSlow(Math.min(Math.max(bytes, READ_AHEAD), to - at));
    bufferAt = at;
    buffer = buffer.subarray(0, files.read(path, at, buffer));
    return bytes <= buffer.length;
  };
  while (there(FRAME)) {
    const length = buffer.readUInt32LE(at - bufferAt);
    if (length < 1 || length > LONGEST_BODY || !there(FRAME + length)) return;
    const crc = buffer.readUInt32LE(at - bufferAt + 4);
    const bodyAt = at - bufferAt + FRAME;
    const body = buffer.subarray(bodyAt, bodyAt + length);
    const place = { start: at, end: at + FRAME + length };
    at = place.end;
    const record = crc32(body) === crc ? decode(body, place) : undefined;
    if (record !== undefined) yield record;
  }
}

function decode(body: Buffer, place: Place): StoredRecord | undefined {
  const type = body[0]; // destructuring would iterate, which takes longer than the rest of this
  if (type === CHECKPOINT) {
    const checkpoint = parseCheckpoint(body.toString('utf8', 1));
    return checkpoint && { ...place, type: 'checkpoint', checkpoint };
  }
  if ((type !== EVENT && type !== LOSS) || body.length < NAME_AT) return undefined;
  const textAt = NAME_AT + body.readUInt16LE(NAME_LENGTH_AT);
  const tally = {
    name: body.toString('utf8', NAME_AT, textAt),
    elements: body.readUInt32LE(ELEMENTS_AT),
    occurrences: body.readUInt32LE(OCCURRENCES_AT),
  };
  const text = () => body.toString('utf8', textAt);
  if (type === EVENT) {
    const position = body.readUIntLE(POSITION_AT, 6);
    return { ...place, ...tally, type: 'event', position, bytes: body.length - textAt, json: text };
  }
  const reason = DROP_REASONS.find((known) => known === text());
  return reason && { ...place, ...tally, type: 'loss', reason };
}

/** Short, since one is written for every message that was acknowledged. */
const checkpointJson = ({ next, done, account }: Checkpoint): string => {
  const rows = Object.entries(account.byEvent()).map(([name, { collected, delivered, aggregatedAway, dropped }]) => [
    name,
    [collected, delivered, aggregatedAway, dropped],
  ]);
  return JSON.stringify({ next, done, account: Object.fromEntries(rows) });
};

function parseCheckpoint(json: string): Checkpoint | undefined {
  try {
    const { next, done, account } = JSON.parse(json) as { next: unknown; done: unknown; account: object };
    if (!Number.isSafeInteger(next)) return undefined;
    const rows = Object.entries(account).map(([name, [collected, delivered, aggregatedAway, dropped]]) => [
      name,
      { collected, delivered, aggregatedAway, dropped } satisfies Totals,
    ]);
    return { next: next as number, done: Positions.from(done), account: Account.from(Object.fromEntries(rows)) };
  } catch {
    return undefined;
  }
}
