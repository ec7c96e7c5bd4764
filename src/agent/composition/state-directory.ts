import { randomUUID } from 'node:crypto';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { writeFileAtomic } from '../../core/base/atomic-file.ts';
import { AgentError, errnoOf, messageOf } from '../../core/base/errors.ts';
import { type Logger, logError } from '../../core/base/log.ts';
import { danglingLink, linkFault, makeFolder } from '../../core/base/paths.ts';
import { shellWord } from '../../core/base/text.ts';
import { lockFile, lockFolder } from '../linux/self/file-lock.ts';
import { readStateText } from '../state/read-state.ts';
import { setAsideUnusable } from '../state/set-aside.ts';

/** Errors that an operator must correct. All others come from the disk, and the agent starts without it. */
const OPERATORS = ['EACCES', 'EPERM', 'ENOENT', 'ENOTDIR', 'EEXIST', 'ELOOP', 'ENAMETOOLONG', 'EINVAL'];

const isOperators = (error: unknown): boolean => OPERATORS.includes(errnoOf(error) ?? '');

/**
 * Creates the state directory if it is missing, sets unusable entries aside, and locks it for the life of this process:
 * two agents would lose each other's events. If the disk fails, it logs that, and the agent keeps its state in memory.
 *
 * @throws {AgentError} STATE_DIRECTORY_UNUSABLE if an operator must correct it; AGENT_RUNNING
 */
export function useStateDirectory(directory: string, log: Logger): void {
  try {
    makeFolder(directory, 0o700);
    const { mode } = statSync(directory);
    if ((mode & 0o022) !== 0) {
      const remedy = `Remove other users' write permission: chmod go-w ${shellWord(directory)}`;
      throw new AgentError('STATE_DIRECTORY_UNUSABLE', `others can write to ${directory}`, remedy);
    }
    setAsideUnusable(directory, log);
    lock(directory, log);
  } catch (cause) {
    if (cause instanceof AgentError) throw cause;
    const link = danglingLink(directory);
    if (link !== undefined) throw new AgentError('STATE_DIRECTORY_UNUSABLE', ...linkFault(link), { cause });
    if (!isOperators(cause)) {
      const message = `cannot use the state directory, so events and state are in memory: ${messageOf(cause)}`;
      const remedy = `Check the disk of ${directory}, free space on it if it is full, and restart the agent.`;
      logError(log, new AgentError('STORE_UNUSABLE', message, remedy, { cause }));
      return;
    }
    const remedy = `Create ${directory} for the user that the agent runs as, or set stateDirectory to another one.`;
    const message = `cannot use the state directory: ${messageOf(cause)}`;
    throw new AgentError('STATE_DIRECTORY_UNUSABLE', message, remedy, { cause });
  }
}

/** If the disk does not provide the lock's file, the directory itself is locked. */
function lock(directory: string, log: Logger): void {
  try {
    lockFile(join(directory, 'lock'));
  } catch (cause) {
    if (cause instanceof AgentError && cause.id === 'SOCKET_UNAVAILABLE') {
      log.warn({ err: cause }, 'Could not lock the state directory; make sure that only one agent uses it.');
      return;
    }
    if (cause instanceof AgentError || isOperators(cause)) throw cause;
    log.warn({ err: cause }, "Could not open the state directory's lock file; locking the directory instead.");
    lockFolder(directory);
  }
}

/**
 * The UUID that names this agent in its messages. It is generated once and stored in the state directory. If the file
 * cannot be read or written, the agent uses a UUID for this run only.
 */
export function keptAgentId(file: string, log: Logger): string {
  const id = randomUUID();
  try {
    const kept = readStateText(file)?.trim();
    if (kept !== undefined && /^[0-9a-f-]{36}$/i.test(kept)) return kept;
    if (kept !== undefined) log.warn({ file }, 'Replaced an invalid agent id by a new one.');
    writeFileAtomic(file, `${id}\n`);
  } catch (err) {
    log.error({ file, err, agentId: id }, 'Could not read or save the agent id; using a new id until the next start.');
  }
  return id;
}
