import { closeSync, constants, openSync, readFileSync, write, writeSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { BackgroundWriter } from '../base/background-writer.ts';

/** No note is longer, so that a write never leaves the end of an older one behind. */
const NOTE_BYTES = 512;

const HOW = constants.O_WRONLY | constants.O_CREAT;

/**
 * A small thing to remember on disk, such as how far a log has been read.
 *
 * It is written in place, so it costs one system call and no sync: kill -9 can't undo it, and a power cut takes what it is
 * about with it, too.
 *
 * With a BackgroundWriter it is written behind everything that has been asked for until the event loop's next turn: it is
 * never on disk before the events that it is about.
 */
export class NoteFile {
  readonly #path: string;
  readonly #writer: BackgroundWriter | undefined;
  #latest: object | undefined;
  #fd: number | undefined;

  constructor(path: string, writer?: BackgroundWriter) {
    this.#path = path;
    this.#writer = writer;
  }

  /** @returns `undefined` when there is none, or what is there is no JSON */
  read(): unknown {
    if (this.#latest !== undefined) return this.#latest;
    try {
      return JSON.parse(readFileSync(this.#path, 'utf8'));
    } catch {
      return undefined;
    }
  }

  /**
   * @throws RangeError when it is longer than 511 bytes of JSON; what the file system says, unless it is written in the
   *   background
   */
  write(note: object): void {
    const text = `${JSON.stringify(note).padEnd(NOTE_BYTES - 1)}\n`;
    if (Buffer.byteLength(text) > NOTE_BYTES) throw new RangeError(`a note of ${text.length} characters`);
    if (this.#writer === undefined) {
      this.#fd ??= openSync(this.#path, HOW, 0o600);
      writeSync(this.#fd, text, 0);
      return;
    }
    this.#latest = note;
    this.#writer.note(this.#path, { bytes: NOTE_BYTES, write: () => writeInPlace(this.#path, Buffer.from(text)) });
  }

  /** Safe to call twice. */
  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}

const writeAt = promisify(write);

/** Not held open: a file that is open for writing would keep the operator from remounting the disk read-only. */
async function writeInPlace(path: string, bytes: Buffer): Promise<void> {
  const file = await open(path, HOW, 0o600);
  try {
    await writeAt(file.fd, bytes, 0, bytes.length, 0);
  } finally {
    await file.close();
  }
}
