import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Replaces a file so that a reader, and a machine that lost power, sees the old contents or the new, never a mixture:
 * written beside it, synced, renamed, and the folder synced. See rename(2) and fsync(2).
 *
 * @param mode of the new file; files of the agent are private unless told otherwise
 * @throws what the file system says, the old file then being untouched
 */
export function writeFileAtomic(path: string, contents: string, mode = 0o600): void {
  const beside = `${path}.new`;
  rmSync(beside, { force: true }); // one left by a crash would keep its own mode
  try {
    const file = openSync(beside, 'wx', mode);
    try {
      writeFileSync(file, contents); // and not writeSync, which on a nearly full disk writes a part and says nothing
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

/** A file's text, or `undefined` when there is no such file. @throws what else the file system says */
export function readFileIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
