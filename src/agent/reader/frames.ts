/* Frames between the agent and its reader process: a length of four bytes, little-endian, then JSON text in UTF-8. */

const HEADER_BYTES = 4;

/** To the child. */
export interface QuestionFrame {
  readonly kind: string;
  readonly question: unknown;
}

/** From the child: it has started, its progress, or the answer to the oldest question. */
export type AnswerFrame =
  | { readonly ready: true }
  | { readonly at: string }
  | { readonly value: unknown }
  | { readonly error: string; readonly code?: string };

export function encodeFrame(content: QuestionFrame | AnswerFrame): Buffer {
  const text = Buffer.from(JSON.stringify(content));
  const frame = Buffer.allocUnsafe(HEADER_BYTES + text.length);
  frame.writeUInt32LE(text.length, 0);
  text.copy(frame, HEADER_BYTES);
  return frame;
}

/** Cuts a stream of bytes into frames. */
export class FrameReader {
  readonly #maxBytes: () => number;
  #chunks: Buffer[] = [];
  #bytes = 0;

  /** @param maxBytes the longest frame that is accepted now */
  constructor(maxBytes: () => number) {
    this.#maxBytes = maxBytes;
  }

  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
  }

  /** @returns the next frame's content, or `undefined` if it is incomplete. @throws when it is too long, or not JSON */
  next(): unknown {
    if (this.#bytes < HEADER_BYTES) return undefined;
    const length = this.#peek(HEADER_BYTES).readUInt32LE(0);
    if (length > this.#maxBytes()) throw new Error(`a frame of ${length} bytes is too long`);
    if (this.#bytes < HEADER_BYTES + length) return undefined;
    const all = this.#peek(HEADER_BYTES + length);
    const text = all.toString('utf8', HEADER_BYTES, HEADER_BYTES + length);
    this.#bytes -= HEADER_BYTES + length;
    this.#chunks = this.#bytes === 0 ? [] : [all.subarray(HEADER_BYTES + length)];
    return JSON.parse(text);
  }

  /** Returns a Buffer with the next `bytes` bytes, or more; the caller has checked that they have arrived. */
  #peek(bytes: number): Buffer {
    const [first] = this.#chunks;
    if (first !== undefined && first.length >= bytes) return first;
    const all = Buffer.concat(this.#chunks);
    this.#chunks = [all];
    return all;
  }
}
