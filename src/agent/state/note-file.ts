import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { open } from 'node:fs/promises';
import type { BackgroundWriter } from './background-writer.ts';
import { readStateJson } from './read-state.ts';

/** Every note is padded to this size by default, so that a write never leaves the end of an older note. */
const NOTE_BYTES = 512;

/** A link or a named pipe that has replaced the file is not written to. */
const HOW = constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/**
 * A small JSON object on disk, such as how far a log has been read.
 *
 * It is written in place, with one system call and without a sync: it survives kill -9, and a power cut loses the data
 * that it describes, too.
 *
 * With a BackgroundWriter it is written after all changes that are added before the event loop's next turn, so it is
 * never on disk before the events that it describes.
 */
export class NoteFile {
  readonly #path: string;
  readonly #writer: BackgroundWriter | undefined;
  readonly #writeFirst: boolean;
  readonly #bytes: number;
  #latest: object | undefined;

  /**
   * @param writeFirst whether it is written before others of the same batch, which may depend on it
   * @param bytes the size of the file, 512 by default
   */
  constructor(
    path: string,
    writer?: BackgroundWriter,
    { writeFirst = false, bytes = NOTE_BYTES }: { writeFirst?: boolean; bytes?: number } = {},
  ) {
    this.#path = path;
    this.#writer = writer;
    this.#writeFirst = writeFirst;
    this.#bytes = bytes;
  }

  /** @returns `undefined` when the file can't be read or isn't JSON */
  read(): unknown {
    if (this.#latest !== undefined) return this.#latest;
    try {
      return readStateJson(this.#path, (value) => value);
    } catch {
      return undefined;
    }
  }

  /**
   * @throws RangeError when its JSON does not fit into the file; without a BackgroundWriter also the file system's
   *   errors
   */
  write(note: object): void {
    const text = `${JSON.stringify(note).padEnd(this.#bytes - 1)}\n`;
    if (Buffer.byteLength(text) > this.#bytes) throw new RangeError(`a note of ${text.length} characters`);
    if (this.#writer === undefined) {
      const fd = openSync(this.#path, HOW, 0o600);
      try {
        writeSync(fd, text, 0);
      } finally {
        closeSync(fd);
      }
      return;
    }
    this.#latest = note;
    this.#writer.note(this.#path, {
      bytes: this.#bytes,
      writeFirst: this.#writeFirst,
      change: { kind: 'put', path: this.#path, bytes: Buffer.from(text) },
      write: () => this.#writeInPlace(Buffer.from(text)),
    });
  }

  /** The file is open only meanwhile, or the file system could not be remounted read-only. */
  async #writeInPlace(bytes: Buffer): Promise<void> {
    const file = await open(this.#path, HOW, 0o600);
    try {
      await file.write(bytes, 0, bytes.length, 0);
    } finally {
      await file.close();
    }
  }
}
