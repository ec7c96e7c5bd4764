import { closeSync, constants as files, openSync } from 'node:fs';
import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';
import { AgentError } from '../../base/errors.ts';
import { systemCalls } from '../native/system-calls.ts';

const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * Locks a file for this process, see flock(2). The kernel lets go of it when the process ends, however it ends, and it
 * holds between containers that share the folder, too. The file is made when it isn't there, and stays. It is opened for
 * reading, so that a read-only disk is no hindrance, and the lock none to remounting the disk read-only; on NFS, where an
 * exclusive lock asks for more, for writing.
 *
 * @returns how to let go of it
 * @throws AgentError AGENT_RUNNING when another process holds it, SOCKET_UNAVAILABLE when koffi has no binary here; what
 *   the file system says
 */
export const lockFile = (path: string): (() => void) => lock(path, files.O_RDONLY);

function lock(path: string, mode: number): () => void {
  const system = systemCalls();
  const fd = openSync(path, mode | files.O_CREAT, 0o600);
  if (system.flock(fd, LOCK_EX | LOCK_NB) === 0) return () => closeSync(fd);
  const errno = system.errno();
  closeSync(fd);
  if (errno === constants.errno.EBADF && mode === files.O_RDONLY) return lock(path, files.O_RDWR);
  if (errno === constants.errno.EAGAIN) {
    const remedy = 'Stop the other agent first, or give this one a stateDirectory and a controlSocket of its own.';
    throw new AgentError('AGENT_RUNNING', `another agent holds ${path}`, remedy);
  }
  const name = getSystemErrorName(-errno);
  throw Object.assign(new Error(`flock() of ${path}: ${name}`), { code: name });
}
