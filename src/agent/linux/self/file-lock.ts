import { closeSync, constants as files, openSync } from 'node:fs';
import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';
import { AgentError } from '../../../core/base/errors.ts';
import { systemCalls } from '../native/system-calls.ts';

const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * Locks a file for this process, see flock(2). The kernel releases the lock when the process ends in any way. It is also
 * effective between containers that share the folder. The file is created if missing, and is not deleted. It is opened for
 * reading, so that locking works on a read-only disk and does not prevent remounting read-only; on NFS it is opened
 * for writing, which an exclusive lock requires there.
 *
 * @returns a function that releases the lock
 * @throws AgentError AGENT_RUNNING when another process holds it, SOCKET_UNAVAILABLE when koffi has no binary for this
 *   platform; the error of the file system
 */
export const lockFile = (path: string): (() => void) =>
  lock(path, files.O_RDONLY | files.O_CREAT | files.O_NOFOLLOW | files.O_NONBLOCK);

/** Locks a folder in the same way. */
export const lockFolder = (path: string): (() => void) => lock(path, files.O_RDONLY | files.O_DIRECTORY);

function lock(path: string, mode: number): () => void {
  const system = systemCalls();
  const fd = openSync(path, mode, 0o600);
  if (system.flock(fd, LOCK_EX | LOCK_NB) === 0) return () => closeSync(fd);
  const errno = system.errno();
  closeSync(fd);
  const isForReading = (mode & (files.O_RDWR | files.O_WRONLY | files.O_DIRECTORY)) === 0;
  if (errno === constants.errno.EBADF && isForReading) return lock(path, mode | files.O_RDWR);
  if (errno === constants.errno.EAGAIN) {
    const remedy = 'Stop the other agent first, or give this one a stateDirectory and a controlSocket of its own.';
    throw new AgentError('AGENT_RUNNING', `another agent holds ${path}`, remedy);
  }
  const name = getSystemErrorName(-errno);
  throw Object.assign(new Error(`flock() of ${path}: ${name}`), { code: name });
}
