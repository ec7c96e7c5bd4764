import { randomBytes } from 'node:crypto';
import { lstatSync, type Stats, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { resolve } from 'node:path';
import { tryFileAtomic, writeFileAtomic } from '../../core/base/atomic-file.ts';
import { AgentError, errnoOf } from '../../core/base/errors.ts';
import { UsageError } from '../../core/command-line/command.ts';

/**
 * The absolute path of a file that a command writes as a whole. Call this before the work starts.
 *
 * @throws {UsageError} if it exists and is not a regular file: to rename a file onto a device such as /dev/null
 *   would replace the device
 */
export function resultFile(given: string): string {
  const file = resolve(given);
  const stats = statsOfLink(file);
  if (stats !== undefined && !stats.isFile()) throw new UsageError(`${file} is not a regular file`);
  return file;
}

/**
 * Whether a path is a device of /dev that can be written to: a character device such as /dev/full, or an output that the caller
 * has opened, such as /dev/stdout, which is a link to it. Elsewhere another user may have made what is there.
 */
export const isDevice = (path: string): boolean =>
  /^\/dev\/(?:stdout|stderr|fd\/\d+)$/.test(path) ||
  (/^\/dev\/[^/]+$/.test(path) && statsOfLink(path)?.isCharacterDevice() === true);

/** `undefined` even if it cannot be read: then it cannot be written either, and `refuseUnwritable` throws the reason. */
function statsOfLink(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}

/**
 * Writes a result as `writeFileAtomic` does; no file that lies beside it is touched. A device is written directly.
 *
 * @throws {AgentError} RESULT_UNWRITABLE
 */
export function writeResult(file: string, contents: string | Uint8Array, mode?: number): void {
  try {
    if (isDevice(file)) writeFileSync(file, contents);
    else writeFileAtomic(file, contents, mode, unusedName(file));
  } catch (error) {
    throw unwritable(file, error);
  }
}

/** FILE.new may be a file of the user. */
const unusedName = (file: string): string => `${file}.${randomBytes(6).toString('hex')}`;

/**
 * Tries whether a file can be written. Call this before long work. Leaves nothing behind; a disk may still be too full for
 * the whole file. Devices are not tried.
 *
 * @throws {AgentError} RESULT_UNWRITABLE
 */
export function refuseUnwritable(file: string): void {
  try {
    if (!isDevice(file)) tryFileAtomic(unusedName(file));
  } catch (error) {
    throw unwritable(file, error);
  }
}

/** The error without an errno is a defect, and is returned unchanged. */
function unwritable(file: string, cause: unknown): unknown {
  const code = errnoOf(cause);
  if (code === undefined) return cause;
  const remedy =
    code === 'ENOSPC' || code === 'EDQUOT'
      ? 'Name a file on another file system, for example in /dev/shm or on a USB stick.'
      : 'Name a file in a folder that you can write to.';
  return new AgentError('RESULT_UNWRITABLE', `${file} cannot be written: ${code}`, remedy, { cause });
}

/** Who calls the command, for what it writes. A user without an entry in the user database has only a number. */
export function callersName(): string {
  try {
    return userInfo().username;
  } catch {
    return `user ${process.getuid?.()}`;
  }
}
