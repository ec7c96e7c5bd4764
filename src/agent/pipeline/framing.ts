import { crc32 } from 'node:zlib'; // Node 20.15, 22.2 or later
import type { StoreFiles } from './store-files.ts';

/*
 * The framing of records in an append-only file. All numbers are little-endian.
 *
 *   record      u32 length of the body │ u32 CRC-32 of the body │ body
 */
export const FRAME = 8;

/** A greater length, in bytes, is taken for damage. Real records are far shorter. */
const LONGEST_BODY = 16 * 1024 * 1024;
const BUFFER = 64 * 1024;

/** A record's body, and its offsets in the file. */
export interface Frame {
  /** Offset of the record's first byte. */
  readonly start: number;
  /** Offset of the first byte after the record. */
  readonly end: number;
  /** Valid until the next record is read. */
  readonly body: Buffer;
}

/** Composes consecutive records in a buffer that is reused. */
export class FrameWriter {
  /** For the body of the record. `begin` may replace it. */
  protected buffer = Buffer.allocUnsafeSlow(BUFFER);
  #length = 0;

  /** Valid until the writer is used again. */
  get bytes(): Buffer {
    return this.buffer.subarray(0, this.#length);
  }

  clear(): void {
    this.#length = 0;
    if (this.buffer.length > 4 * BUFFER) this.buffer = Buffer.allocUnsafeSlow(BUFFER);
  }

  /** Adds a file's head, which is not a record. */
  raw(bytes: Buffer): void {
    this.#reserve(bytes.length);
    this.#length += bytes.copy(this.buffer, this.#length);
  }

  /** Begins a record with a body of at most `length` bytes. @returns the body's offset in `buffer` */
  protected begin(length: number): number {
    this.#reserve(FRAME + length);
    return this.#length + FRAME;
  }

  /** Ends the body begun last, now that its length is known. */
  protected end(length: number): void {
    const body = this.#length + FRAME;
    this.buffer.writeUInt32LE(length, this.#length);
    this.buffer.writeUInt32LE(crc32(this.buffer.subarray(body, body + length)), this.#length + 4);
    this.#length = body + length;
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes <= this.buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(2 * (this.#length + bytes));
    this.buffer.copy(larger, 0, 0, this.#length);
    this.buffer = larger;
  }
}

/** A buffer for reading files; it may be reused for one file after another. */
export const newReadAhead = (): Buffer => Buffer.allocUnsafeSlow(BUFFER);

/**
 * The intact records of a file between two offsets, in order.
 *
 * A record with a wrong CRC is skipped. After an invalid length the begin of the next record is unknown, so the rest of
 * the file is skipped. A torn last record is skipped, too.
 *
 * @param readAhead is reused for each record
 */
export function* readFrames(
  files: StoreFiles,
  path: string,
  from: number,
  to: number,
  readAhead: Buffer = newReadAhead(),
): Generator<Frame> {
  let buffer: Buffer = Buffer.alloc(0);
  let bufferAt = from;
  let at = from;
  const there = (bytes: number): boolean => {
    if (at + bytes > to) return false;
    if (at + bytes <= bufferAt + buffer.length) return true;
    const target = bytes > readAhead.length ? Buffer.allocUnsafeSlow(bytes) : readAhead;
    bufferAt = at;
    buffer = target.subarray(0, files.read(path, at, target.subarray(0, to - at)));
    return bytes <= buffer.length;
  };
  while (there(FRAME)) {
    const length = buffer.readUInt32LE(at - bufferAt);
    if (length < 1 || length > LONGEST_BODY || !there(FRAME + length)) return;
    const crc = buffer.readUInt32LE(at - bufferAt + 4);
    const bodyAt = at - bufferAt + FRAME;
    const body = buffer.subarray(bodyAt, bodyAt + length);
    const start = at;
    at += FRAME + length;
    if (crc32(body) === crc) yield { start, end: at, body };
  }
}
