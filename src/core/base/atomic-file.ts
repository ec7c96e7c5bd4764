import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Replaces a file atomically: a reader, or a boot after a power cut, finds the old contents or the new, never a
 * mixture. The new file is written next to the old one, synced and renamed, and the folder is synced. See rename(2) and
 * fsync(2).
 *
 * @param mode of the new file
 * @param beside the path where the new file is written first; an existing file there is removed
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
 * Checks whether `writeFileAtomic` can create a file, and removes it again. The disk may still be too full for its
 * contents.
 *
 * @param beside the same path as for `writeFileAtomic`
 * @throws the error that `writeFileAtomic` would throw
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
