import { constants } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import type { BackgroundWriter } from './background-writer.ts';
import { readStateJson } from './read-state.ts';
import { replaceFile } from './state-files.ts';
import { type Change, makeChange } from './write-ahead.ts';

/** Every note is padded to this size by default, so that a write never leaves the end of an older note. */
const NOTE_BYTES = 512;

/** A link or a named pipe that has replaced the file is not written to. */
const HOW = constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/**
 * A small JSON file that describes other data, such as how far a log has been read. See StateFiles for the other way to
 * write a small file.
 *
 * It is not synced: it survives kill -9, and a power cut loses the data that it describes, too.
 *
 * With a BackgroundWriter it is written after all changes that are added before the event loop's next turn, so it is
 * never on disk before the events that it describes. Without one it is written at once.
 */
export class NoteFile {
  readonly #path: string;
  readonly #writer: BackgroundWriter | undefined;
  readonly #writeFirst: boolean;
  readonly #bytes: number;
  #latest: object | undefined;

  /**
   * @param writeFirst whether it is written before others of the same batch, which may depend on it
   * @param bytes the size of the file if it is written in place, 512 by default
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
   * Writes a note in place, with one system call.
   *
   * @throws RangeError when its JSON does not fit into the file; without a BackgroundWriter also the file system's
   *   errors
   */
  write(note: object): void {
    const text = `${JSON.stringify(note).padEnd(this.#bytes - 1)}\n`;
    const bytes = Buffer.from(text);
    if (bytes.length > this.#bytes) throw new RangeError(`a note of ${text.length} characters`);
    this.#add({ kind: 'put', path: this.#path, bytes }, () => writeInPlace(this.#path, bytes));
    if (this.#writer !== undefined) this.#latest = note;
  }

  /**
   * Replaces the file by JSON of any size, which a kill during a write in place would tear. Use either this or `write`.
   *
   * @param json `undefined`: removes the file
   * @throws without a BackgroundWriter the file system's errors
   */
  replace(json: string | undefined): void {
    const path = this.#path;
    if (json === undefined) this.#add({ kind: 'remove', path }, () => rm(path, { force: true }));
    else {
      const bytes = Buffer.from(json);
      this.#add({ kind: 'put', path, bytes }, () => replaceFile(path, bytes, (file) => file.close()));
    }
  }

  #add(change: Change, write: () => Promise<void>): void {
    const bytes = 'bytes' in change ? change.bytes.length : 0;
    if (this.#writer === undefined) makeChange(change);
    else this.#writer.note(this.#path, { bytes, writeFirst: this.#writeFirst, change, write });
  }
}

/** The file is open only meanwhile, or the file system could not be remounted read-only. */
async function writeInPlace(path: string, bytes: Buffer): Promise<void> {
  const file = await open(path, HOW, 0o600);
  try {
    await file.write(bytes, 0, bytes.length, 0);
  } finally {
    await file.close();
  }
}
