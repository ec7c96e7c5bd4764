import { accessSync, closeSync, constants, fstatSync, lstatSync, openSync, readSync, type Stats } from 'node:fs';
import { dirname } from 'node:path';
import { errnoOf } from './errors.ts';

/* Reads files that a less trusted user can replace, as root does in the agent's state directory. It does not follow
 * links, wait for a named pipe, open a device, or read more than a limit. */

/** The path is not a plain file. */
export class NotPlainError extends Error {
  override readonly name = 'NotPlainError';
  /**
   * ELOOP: symbolic link. EINVAL: not a regular file, or several names. EFBIG: too large. EACCES: wrong owner or mode.
   */
  readonly code: 'ELOOP' | 'EINVAL' | 'EFBIG' | 'EACCES';

  constructor(code: NotPlainError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

/**
 * Reads the text of a regular file that has only one name.
 *
 * @throws NotPlainError, including for a file larger than `maxBytes`; the file system's errors, such as ENOENT
 */
export function readPlainFile(path: string, maxBytes: number): string {
  return readOpened(path, openPlain(path), maxBytes, { hasOneName: true });
}

/**
 * Like `readPlainFile`, for a file that this program wrote: its owner must be root, this process's user or the owner of
 * the folder, and no other user may be able to write to it.
 */
export function readOwnFile(path: string, maxBytes: number): string {
  return readOpened(path, openPlain(path), maxBytes, { hasOneName: true, isOwn: true });
}

/**
 * Reads a file that an operator has named. A link is followed if root or this user made it in a folder where no other
 * user can replace it: Kubernetes mounts configuration as such links. Unlike for `readPlainFile`, the file may have
 * several names.
 */
export function readNamedFile(path: string, maxBytes: number): string {
  return readOpened(path, openNamed(path), maxBytes, { hasOneName: false });
}

const FLAGS = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;

function openPlain(path: string): number {
  try {
    return openSync(path, FLAGS | constants.O_NOFOLLOW);
  } catch (error) {
    if (errnoOf(error) === 'ELOOP') throw new NotPlainError('ELOOP', `${path} is a symbolic link`);
    throw error;
  }
}

function openNamed(path: string): number {
  try {
    return openPlain(path);
  } catch (error) {
    if (!(error instanceof NotPlainError) || !isTrustedLink(path)) throw error;
    return openSync(path, FLAGS);
  }
}

function isTrustedLink(path: string): boolean {
  const folder = lstatSync(dirname(path));
  const owners = [lstatSync(path).uid, folder.uid];
  const isOwn = (uid: number) => uid === 0 || uid === process.geteuid?.();
  if (!owners.every(isOwn)) return false;
  return (folder.mode & 0o022) === 0 || (folder.mode & STICKY) !== 0 || isReadOnly(dirname(path));
}

/**
 * Mode bit of a folder in which only the file's owner, the folder's owner and root can replace a file: see inode(7).
 */
const STICKY = 0o1000;

/**
 * Whether its file system is mounted read-only. Folders of Kubernetes volumes are, although their mode lets everyone
 * write.
 */
function isReadOnly(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK);
    return false;
  } catch (error) {
    return errnoOf(error) === 'EROFS';
  }
}

function readOpened(
  path: string,
  fd: number,
  maxBytes: number,
  { hasOneName, isOwn = false }: { hasOneName: boolean; isOwn?: boolean },
): string {
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile()) throw new NotPlainError('EINVAL', `${path} is not a regular file`);
    if (hasOneName && stats.nlink > 1) throw new NotPlainError('EINVAL', `${path} has more than one hard link`);
    if (isOwn && !isOwnFile(path, stats)) throw new NotPlainError('EACCES', `${path} is another user's to write`);
    if (stats.size > maxBytes) throw tooLarge(path, maxBytes);
    const buffer = Buffer.alloc(Math.min(stats.size + 1, maxBytes + 1));
    let length = 0;
    for (;;) {
      const read = readSync(fd, buffer, length, buffer.length - length, length);
      length += read;
      if (read === 0 || length === buffer.length) break;
    }
    if (length > maxBytes) throw tooLarge(path, maxBytes);
    return buffer.toString('utf8', 0, length);
  } finally {
    closeSync(fd);
  }
}

/** Whether no user but the owner of its folder, this process's user and root could have written a file. */
export function isOwnFile(path: string, { uid, mode }: Pick<Stats, 'uid' | 'mode'>): boolean {
  return (mode & 0o022) === 0 && [0, process.geteuid?.(), lstatSync(dirname(path)).uid].includes(uid);
}

const tooLarge = (path: string, maxBytes: number) =>
  new NotPlainError('EFBIG', `${path} is larger than ${maxBytes} bytes`);
