import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Replaces a file atomically: a reader, or a boot after a power cut, finds the old contents or the new, never a
 * mixture. The new file is written beside the old one, synced and renamed, and the folder is synced. See rename(2) and
 * fsync(2).
 *
 * @param mode of the new file
 * @param beside the path where the new file is written first; a file that is there is removed
 * @throws the file system's error; the old file is then unchanged
 */
export function writeFileAtomic(
  path: string,
  contents: string | Uint8Array,
  mode = 0o600,
  beside = `${path}.new`,
): void {
  rmSync(beside, { force: true }); // one left by a crash would keep its own mode
  try {
    const file = openSync(beside, 'wx', mode);
    try {
      writeFileSync(file, contents); // not writeSync, which on a nearly full disk writes a part without an error
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(beside, path);
  } catch (error) {
    rmSync(beside, { force: true });
    throw error;
  }
  const folder = openSync(dirname(path), 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

/**
 * Tries whether `writeFileAtomic` can write a file, and leaves nothing behind. The disk may still be too full for it.
 *
 * @param beside as it will be given to `writeFileAtomic`
 * @throws the error with which it would fail
 */
export function tryFileAtomic(beside: string): void {
  rmSync(beside, { force: true });
  closeSync(openSync(beside, 'wx', 0o600));
  rmSync(beside);
}

/** A file's text, or `undefined` when the file does not exist. @throws any other error of the file system */
export function readFileIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
