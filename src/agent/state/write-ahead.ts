import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readSync,
  rmSync,
  statfsSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { crc32 } from 'node:zlib'; // Node 20.15, 22.2 or later
import { errnoOf } from '../../core/base/errors.ts';

/** A change of a file in the state directory. `put` replaces its contents; `append` adds bytes at its end, the offset. */
export type Change =
  | { readonly kind: 'create' | 'remove'; readonly path: string }
  | { readonly kind: 'append'; readonly path: string; readonly offset: number; readonly bytes: Buffer }
  | { readonly kind: 'put'; readonly path: string; readonly bytes: Buffer };

const FILE = 'write-ahead.log';
/** From statfs(2). */
const TMPFS = 0x01021994;
/** Of memory. Changes beyond that are written to the disk at once. */
const MAX_BYTES = 1024 * 1024;
/** One change may exceed `MAX_BYTES`. */
const MAX_BYTES_READ = 16 * 1024 * 1024;
/** u32 length of the head │ u32 length of the bytes │ u32 CRC-32 of both │ head as JSON │ bytes */
const FRAME = 12;

/**
 * Changes that were made, but not written to the disk, in a file in memory (tmpfs). They survive `kill -9`, and cost no
 * flash.
 *
 * The changes may be applied again if some of them have already been made: the result is the same.
 */
export class WriteAhead {
  readonly #fd: number;
  readonly #directory: string;
  #size: number;
  #isFull = false;

  private constructor(fd: number, directory: string, size: number) {
    this.#fd = fd;
    this.#directory = directory;
    this.#size = size;
  }

  /**
   * @param folder a private folder that survives the process, but not the boot
   * @param directory all changed files are in this directory
   * @returns `undefined` if the folder is not in memory
   */
  static open(folder: string, directory: string): WriteAhead | undefined {
    try {
      if (statfsSync(folder).type !== TMPFS) return undefined;
      const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK;
      const fd = openSync(join(folder, FILE), flags, 0o600);
      const stat = fstatSync(fd);
      if (stat.isFile() && stat.nlink === 1 && stat.size <= MAX_BYTES_READ)
        return new WriteAhead(fd, directory, stat.size);
      closeSync(fd);
      return undefined;
    } catch {
      return undefined;
    }
  }

  /** @returns whether the change survives a kill, and more may be held */
  add(change: Change): boolean {
    if (this.#isFull) return false;
    const bytes = 'bytes' in change ? change.bytes : Buffer.alloc(0);
    const head = Buffer.from(JSON.stringify({ ...change, bytes: undefined }));
    const record = Buffer.concat([Buffer.alloc(FRAME), head, bytes]);
    record.writeUInt32LE(head.length, 0);
    record.writeUInt32LE(bytes.length, 4);
    record.writeUInt32LE(crc32(record.subarray(FRAME)), 8);
    try {
      const written = writeSync(this.#fd, record, 0, record.length, this.#size);
      this.#isFull = written < record.length;
    } catch {
      this.#isFull = true;
    }
    if (this.#isFull) return false;
    this.#size += record.length;
    this.#isFull = this.#size >= MAX_BYTES; // a later change without an earlier one must not be applied
    return !this.#isFull;
  }

  /** Forgets all changes: they were written to the disk. */
  clear(): void {
    if (this.#size === 0 && !this.#isFull) return;
    try {
      ftruncateSync(this.#fd, 0);
      this.#size = 0;
      this.#isFull = false;
    } catch {
      this.#isFull = true; // nothing may be added after what is already on the disk
    }
  }

  /** Makes the changes that a killed process has left. @returns how many, and the first error */
  apply(): { changes: number; error?: unknown } {
    const data = Buffer.alloc(this.#size);
    let error: unknown;
    let changes = 0;
    let at = 0;
    const length = readSync(this.#fd, data, 0, data.length, 0);
    while (at + FRAME <= length) {
      const bytesAt = at + FRAME + data.readUInt32LE(at);
      const end = bytesAt + data.readUInt32LE(at + 4);
      if (end > length || crc32(data.subarray(at + FRAME, end)) !== data.readUInt32LE(at + 8)) break;
      try {
        const head = JSON.parse(data.toString('utf8', at + FRAME, bytesAt)) as Change;
        const change = { ...head, bytes: data.subarray(bytesAt, end) } as Change;
        const { path } = change;
        if (!path.startsWith(`${this.#directory}/`) || path.split('/').includes('..'))
          throw new Error(`foreign: ${path}`);
        makeChange(change);
        changes += 1;
      } catch (cannot) {
        error ??= cannot;
      }
      at = end;
    }
    this.clear();
    return error === undefined ? { changes } : { changes, error };
  }
}

/** Makes a change, synchronously. Making it again has the same result. @throws the file system's error */
export function makeChange(change: Change): void {
  const { path, kind } = change;
  if (kind === 'remove') {
    rmSync(path, { force: true });
    return;
  }
  if (kind !== 'append') mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const { O_WRONLY, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants;
  const file = openIfThere(path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | (kind === 'append' ? 0 : O_CREAT));
  if (file === undefined) return; // deleted since
  try {
    if (!('bytes' in change) || kind === 'create') return;
    const offset = change.kind === 'append' ? change.offset : 0;
    if (fstatSync(file).size < offset) return; // the bytes before it are missing
    writeSync(file, change.bytes, 0, change.bytes.length, offset);
    if (change.kind === 'put') ftruncateSync(file, change.bytes.length);
  } finally {
    closeSync(file);
  }
}

function openIfThere(path: string, flags: number): number | undefined {
  try {
    return openSync(path, flags, 0o600);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
