import { lstatSync } from 'node:fs';
import { userInfo } from 'node:os';
import { resolve } from 'node:path';
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

/** Who calls the command, for what it writes. A user without an entry in the user database has only a number. */
export function callersName(): string {
  try {
    return userInfo().username;
  } catch {
    return `user ${process.getuid?.()}`;
  }
}
