import type { Logger } from '../../../core/base/log.ts';
import type { StreamSink, Streams } from '../../../core/contract/streams.ts';
import type { NoteFile } from '../../state/note-file.ts';

interface Parts {
  readonly stream: keyof Streams;
  /** Upper bound; a larger number in the file is reduced to it. */
  readonly max: number;
  readonly sink: StreamSink;
  readonly note: NoteFile;
  readonly log: Logger;
}

/**
 * Records on disk how many records of a stream wait in memory for their details. If the agent is killed, its next run
 * counts them as `killed`.
 */
export class HeldCount {
  readonly #parts: Parts;
  #noted: number | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Counts what an earlier run held when it was killed. Call this before the first `set`; later calls do nothing. */
  countKilled(): void {
    if (this.#noted !== undefined) return;
    const { note, max, sink, stream } = this.#parts;
    const { held } = (note.read() ?? {}) as { held?: unknown };
    const count = Number.isSafeInteger(held) ? Math.min(held as number, max) : 0;
    this.#noted = 0;
    if (count <= 0) return; // no file is opened or written until a record waits
    sink.drop(stream, 'killed', count);
    this.#noted = count;
    this.set(0);
  }

  /** Never throws. */
  set(held: number): void {
    if (held === this.#noted) return;
    this.#noted = held;
    try {
      this.#parts.note.write({ held });
    } catch (err) {
      this.#parts.log.debug({ err, stream: this.#parts.stream }, 'Could not note how many records wait in memory.');
    }
  }
}
