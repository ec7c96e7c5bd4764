import { Account, DROP_REASONS, type DropReason, type Totals } from '../../core/base/counters.ts';
import type { EventTally } from '../../core/contract/store.ts';
import { FRAME, type Frame, FrameWriter, readFrames } from './framing.ts';
import type { StoreFiles } from './store-files.ts';

/** From, inclusive, and to, exclusive. */
export type Range = readonly [from: number, to: number];

/** The settled positions of a log: delivered, dropped, or burnt (see store.ts). A few ranges, in order. */
export class Positions {
  #ranges: Range[] = [];

  add(from: number, to: number): void {
    if (from >= to) return;
    const apart = this.#ranges.filter(([start, end]) => end < from || start > to);
    const touching = this.#ranges.filter(([start, end]) => end >= from && start <= to);
    const merged: Range = [
      Math.min(from, ...touching.map(([start]) => start)),
      Math.max(to, ...touching.map(([, end]) => end)),
    ];
    this.#ranges = [...apart, merged].sort(([a], [b]) => a - b);
  }

  has(position: number): boolean {
    return this.#ranges.some(([from, to]) => position >= from && position < to);
  }

  copy(): Positions {
    return Positions.from(this.#ranges);
  }

  toJSON(): readonly Range[] {
    return this.#ranges;
  }

  /** Parses the result of `toJSON`. Invalid ranges are skipped: they may come from a damaged disk. */
  static from(value: unknown): Positions {
    const positions = new Positions();
    for (const range of Array.isArray(value) ? value : []) {
      const [from, to] = Array.isArray(range) ? range : [];
      if (Number.isSafeInteger(from) && Number.isSafeInteger(to) && from >= 0) positions.add(from, to);
    }
    return positions;
  }
}

/*
 * The format of a segment file; its meaning is described in store.ts. All numbers are little-endian.
 *
 *   head        'VaktLog', then the format version, one byte
 *   record      see framing.ts
 *   body        u8 type │ …
 *     1 event       u48 position │ u32 elements │ u32 occurrences │ u16 length of the name │ name │ envelope as JSON
 *     2 loss        the same, with position 0, and the reason for the loss instead of the envelope
 *     3 checkpoint  JSON { next, ran, done: [[from, to]…], account: { name: [collected, delivered, aggregatedAway, dropped] } }
 */
const FORMAT_VERSION = 1;
export const SEGMENT_HEAD = Buffer.from(`VaktLog${String.fromCharCode(FORMAT_VERSION)}`, 'latin1');

const EVENT = 1;
const LOSS = 2;
const CHECKPOINT = 3;
const POSITION_AT = 1;
const ELEMENTS_AT = 7;
const OCCURRENCES_AT = 11;
const NAME_LENGTH_AT = 15;
const NAME_AT = 17;

/** Events that were counted but are not, or no longer, in the queue. */
export interface Loss extends EventTally {
  readonly reason: DropReason;
}

/** The state of a log at one point. Records before it are needed only for the JSON of queued events. */
export interface Checkpoint {
  /** The position of the next event. */
  readonly next: number;
  /** Milliseconds for which agents have run with this log, over all runs. */
  readonly ran: number;
  readonly done: Positions;
  readonly account: Account;
}

type Extent = Pick<Frame, 'start' | 'end'>;

export type StoredRecord = Extent &
  (
    | (EventTally & { readonly type: 'event'; readonly position: number; readonly bytes: number; json(): string })
    | (Loss & { readonly type: 'loss' })
    | { readonly type: 'checkpoint'; readonly checkpoint: Checkpoint }
  );

/** Bytes of an event's record on disk; `jsonBytes` is the size of its envelope. */
export const recordSize = (name: string, jsonBytes: number): number =>
  FRAME + NAME_AT + Buffer.byteLength(name) + jsonBytes;

/** Composes records. */
export class RecordWriter extends FrameWriter {
  head(): void {
    this.raw(SEGMENT_HEAD);
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
    const body = this.begin(length);
    this.buffer[body] = CHECKPOINT;
    this.buffer.write(json, body + 1);
    this.end(length);
  }

  #tally(type: number, position: number, tally: EventTally, text: string, textBytes: number): void {
    const nameBytes = Buffer.byteLength(tally.name);
    const length = NAME_AT + nameBytes + textBytes;
    const body = this.begin(length);
    const { buffer } = this;
    buffer[body] = type;
    buffer.writeUIntLE(position, body + POSITION_AT, 6);
    buffer.writeUInt32LE(tally.elements, body + ELEMENTS_AT);
    buffer.writeUInt32LE(tally.occurrences, body + OCCURRENCES_AT);
    buffer.writeUInt16LE(nameBytes, body + NAME_LENGTH_AT);
    buffer.write(tally.name, body + NAME_AT);
    buffer.write(text, body + NAME_AT + nameBytes);
    this.end(length);
  }
}

export const checkpointSize = (checkpoint: Checkpoint): number =>
  FRAME + 1 + Buffer.byteLength(checkpointJson(checkpoint));

/**
 * The intact records of a file between two offsets, in order; see readFrames. recovery.ts detects and counts missing
 * events.
 *
 * @param readAhead is reused for each record: the JSON of a record must be read before the next record
 */
export function* readRecords(
  files: StoreFiles,
  path: string,
  from: number,
  to: number,
  readAhead?: Buffer,
): Generator<StoredRecord> {
  for (const { start, end, body } of readFrames(files, path, from, to, readAhead)) {
    const record = decode(body, { start, end });
    if (record !== undefined) yield record;
  }
}

function decode(body: Buffer, extent: Extent): StoredRecord | undefined {
  const type = body[0]; // destructuring would iterate, which takes longer than the rest of this
  if (type === CHECKPOINT) {
    const checkpoint = parseCheckpoint(body.toString('utf8', 1));
    return checkpoint && { ...extent, type: 'checkpoint', checkpoint };
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
    return { ...extent, ...tally, type: 'event', position, bytes: body.length - textAt, json: text };
  }
  const reason = DROP_REASONS.find((known) => known === text());
  return reason && { ...extent, ...tally, type: 'loss', reason };
}

/** Short, because a checkpoint is written for each acknowledged message. */
const checkpointJson = ({ next, ran, done, account }: Checkpoint): string => {
  const rows = Object.entries(account.byEvent()).map(([name, { collected, delivered, aggregatedAway, dropped }]) => [
    name,
    [collected, delivered, aggregatedAway, dropped],
  ]);
  return JSON.stringify({ next, ran, done, account: Object.fromEntries(rows) });
};

function parseCheckpoint(json: string): Checkpoint | undefined {
  try {
    const { next, ran, done, account } = JSON.parse(json) as Record<'next' | 'ran' | 'done', unknown> & {
      account: object;
    };
    if (!Number.isSafeInteger(next)) return undefined;
    const rows = Object.entries(account).map(([name, [collected, delivered, aggregatedAway, dropped]]) => [
      name,
      { collected, delivered, aggregatedAway, dropped } satisfies Totals,
    ]);
    return {
      next: next as number,
      ran: Number.isSafeInteger(ran) ? (ran as number) : 0,
      done: Positions.from(done),
      account: Account.from(Object.fromEntries(rows)),
    };
  } catch {
    return undefined;
  }
}
