import { closeSync, constants, openSync, readFileSync, writeSync } from 'node:fs';

/** So long that no note is longer: a write never leaves the end of an older one behind. */
const NOTE_BYTES = 512;

/**
 * A small thing to remember on disk, such as how far a log has been read.
 *
 * It is written in place, so it costs one system call and no sync: kill -9 can't undo it, and a power cut takes what it is
 * about with it, too.
 */
export class NoteFile {
  readonly #path: string;
  #fd: number | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /** @returns `undefined` when there is none, or what is there is no JSON */
  read(): unknown {
    try {
      return JSON.parse(readFileSync(this.#path, 'utf8'));
    } catch {
      return undefined;
    }
  }

  /** @throws RangeError when it is longer than 511 bytes of JSON; what the file system says */
  write(note: object): void {
    const text = `${JSON.stringify(note).padEnd(NOTE_BYTES - 1)}\n`;
    if (Buffer.byteLength(text) > NOTE_BYTES) throw new RangeError(`a note of ${text.length} characters`);
    this.#fd ??= openSync(this.#path, constants.O_WRONLY | constants.O_CREAT, 0o600);
    writeSync(this.#fd, text, 0);
  }

  /** Safe to call twice. */
  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}
