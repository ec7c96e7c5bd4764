import { crc32 } from 'node:zlib'; // Node 20.15, 22.2 or later
import { errnoOf } from '../base/errors.ts';
import type { StoreFiles } from './store-files.ts';

/*
 * How records lie in a file that is written at its end only. All numbers little-endian.
 *
 *   record      u32 length of the body │ u32 CRC-32 of the body │ body
 */
export const FRAME = 8;

/** A length beyond this is taken for damage. No record comes near it. */
const LONGEST_BODY = 16 * 1024 * 1024;
const BUFFER = 64 * 1024;

/** A record's body, and where it stands in its file. */
export interface Frame {
  /** Of the record's first byte. */
  readonly start: number;
  /** Of the first byte behind it. */
  readonly end: number;
  /** Valid until the next record is read. */
  readonly body: Buffer;
}

/** Puts records one behind the other into a buffer that is used again and again. */
export class FrameWriter {
  /** To write a body into. Another one after each `begin`. */
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

  /** What stands at the beginning of a file and is no record. */
  raw(bytes: Buffer): void {
    this.#reserve(bytes.length);
    this.#length += bytes.copy(this.buffer, this.#length);
  }

  /** Makes room for a body of at most `length` bytes. @returns where in `buffer` it begins */
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

/** Room to read a file through, which may be used for one after the other. */
export const newReadAhead = (): Buffer => Buffer.allocUnsafeSlow(BUFFER);

/**
 * The intact records of a file between two offsets, in order.
 *
 * A record whose CRC is wrong is left out. Where its length makes no sense, nobody can tell where the next one begins,
 * and the rest of the file is left out; so is a torn last record.
 *
 * @param readAhead is used for all of them
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
    const room = bytes > readAhead.length ? Buffer.allocUnsafeSlow(bytes) : readAhead;
    bufferAt = at;
    buffer = room.subarray(0, files.read(path, at, room.subarray(0, to - at)));
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

/**
 * Whether a file begins as those with this head do. One that was torn, or ends in the zeros that a power cut can leave,
 * was ours as well.
 *
 * @throws what the file system says, unless that means damage (EIO)
 */
export function isHeadedBy(expected: Buffer, files: StoreFiles, path: string): boolean {
  const head = Buffer.alloc(expected.length);
  try {
    files.read(path, 0, head);
  } catch (error) {
    if (errnoOf(error) !== 'EIO') throw error;
    return false;
  }
  const written = head.subarray(0, head.findLastIndex((byte) => byte !== 0) + 1);
  return written.equals(expected.subarray(0, written.length));
}
