import { closeSync, openSync } from 'node:fs';
import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';
import { AgentError } from '../base/errors.ts';
import { systemCalls } from './system-calls.ts';

const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * Locks a file for this process, see flock(2). The kernel lets go of it when the process ends, however it ends, and it
 * holds between containers that share the folder, too. The file is made when it isn't there, and stays.
 *
 * @returns how to let go of it
 * @throws AgentError AGENT_RUNNING when another process holds it, SOCKET_UNAVAILABLE when koffi has no binary here; what
 *   the file system says
 */
export function lockFile(path: string): () => void {
  const system = systemCalls();
  const fd = openSync(path, 'a', 0o600);
  if (system.flock(fd, LOCK_EX | LOCK_NB) === 0) return () => closeSync(fd);
  const errno = system.errno();
  closeSync(fd);
  if (errno === constants.errno.EAGAIN) {
    const remedy = 'Stop the other agent first, or give this one a stateDirectory and a controlSocket of its own.';
    throw new AgentError('AGENT_RUNNING', `another agent holds ${path}`, remedy);
  }
  const name = getSystemErrorName(-errno);
  throw Object.assign(new Error(`flock() of ${path}: ${name}`), { code: name });
}
