import { lstatSync } from 'node:fs';
import { userInfo } from 'node:os';
import { resolve } from 'node:path';
import { tryFileAtomic } from '../base/atomic-file.ts';
import { errnoOf } from '../base/errors.ts';
import { UsageError } from './command.ts';

/**
 * The absolute path of a file that a command is to write as a whole. To be called before the work begins.
 *
 * @throws {UsageError} if something else than a regular file is there: to rename a file onto a device such as /dev/null
 *   would replace the device
 */
export function resultFile(given: string): string {
  const file = resolve(given);
  const stats = lstatSync(file, { throwIfNoEntry: false });
  if (stats !== undefined && !stats.isFile()) throw new UsageError(`${file} is not a regular file`);
  return file;
}

/**
 * Why a file cannot be written: `ENOENT` if its folder does not exist. To be called before work that takes long. Leaves
 * nothing behind; a disk may still be too full for the whole file.
 *
 * @returns `undefined` if it can be written
 */
export function whyNotWritable(file: string): string | undefined {
  try {
    tryFileAtomic(file);
    return undefined;
  } catch (error) {
    return errnoOf(error) ?? 'unknown';
  }
}

/** Who calls the command, for what it writes. A user without an entry in the user database has only a number. */
export function callersName(): string {
  try {
    return userInfo().username;
  } catch {
    return `user ${process.getuid?.()}`;
  }
}
