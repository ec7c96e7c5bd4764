import { closeSync, constants, fstatSync, lstatSync, openSync, readSync } from 'node:fs';
import { dirname } from 'node:path';
import { errnoOf } from './errors.ts';

/* Reading files that somebody less trusted than the reader can exchange, as root does in the agent's state directory:
 * without following a link, waiting for a named pipe, opening a device, or taking more than a limit. */

/** A file that isn't what it should be. */
export class NotPlainError extends Error {
  override readonly name = 'NotPlainError';
  /** As system calls' errors have it: ELOOP for a link, EINVAL for what is no file, EFBIG for a large one. */
  readonly code: 'ELOOP' | 'EINVAL' | 'EFBIG';

  constructor(code: NotPlainError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

/**
 * The text of a regular file that has one name only.
 *
 * @param mostBytes more is an error
 * @throws NotPlainError; what the file system says, ENOENT among it
 */
export function readPlainFile(path: string, mostBytes: number): string {
  return readOpened(path, openPlain(path), mostBytes, { hasOneName: true });
}

/**
 * The same for files that an operator names, where a link is followed if it can be trusted: it is in a folder that only
 * root or this user can change, and one of them has made it. Kubernetes mounts configuration as such links.
 */
export function readNamedFile(path: string, mostBytes: number): string {
  return readOpened(path, openNamed(path), mostBytes, { hasOneName: false });
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
  return owners.every(isOwn) && (folder.mode & 0o022) === 0;
}

function readOpened(path: string, fd: number, mostBytes: number, { hasOneName }: { hasOneName: boolean }): string {
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile()) throw new NotPlainError('EINVAL', `${path} is not a regular file`);
    if (hasOneName && stats.nlink > 1) throw new NotPlainError('EINVAL', `${path} is another file, too`);
    if (stats.size > mostBytes) throw tooLarge(path, mostBytes);
    const buffer = Buffer.alloc(Math.min(stats.size + 1, mostBytes + 1));
    let length = 0;
    for (;;) {
      const read = readSync(fd, buffer, length, buffer.length - length, length);
      length += read;
      if (read === 0 || length === buffer.length) break;
    }
    if (length > mostBytes) throw tooLarge(path, mostBytes);
    return buffer.toString('utf8', 0, length);
  } finally {
    closeSync(fd);
  }
}

const tooLarge = (path: string, mostBytes: number) =>
  new NotPlainError('EFBIG', `${path} is larger than ${mostBytes} bytes`);
