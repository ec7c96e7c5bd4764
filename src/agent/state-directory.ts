import { randomUUID } from 'node:crypto';
import { statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { readFileIfThere, writeFileAtomic } from '../base/atomic-file.ts';
import { danglingLink, linkFault } from '../base/dangling-link.ts';
import { AgentError, errnoOf, messageOf } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { makeFolder } from '../base/make-folder.ts';
import { shellWord } from '../base/shell-word.ts';
import { lockFile } from '../linux/self/file-lock.ts';

/**
 * Makes the state directory if it isn't there, and lets no other agent use it as long as this process lives: two
 * writers would lose each other's events.
 */
export function useStateDirectory(directory: string, log: Logger): void {
  try {
    makeFolder(directory, 0o700);
    const { mode } = statSync(directory);
    if ((mode & 0o022) !== 0) {
      const remedy = `Remove other users' write permission: chmod go-w ${shellWord(directory)}`;
      throw new AgentError('STATE_DIRECTORY_UNUSABLE', `others can write to ${directory}`, remedy);
    }
    lockFile(join(directory, 'lock'));
  } catch (cause) {
    if (cause instanceof AgentError && cause.id === 'SOCKET_UNAVAILABLE') {
      log.warn({ err: cause }, 'Could not lock the state directory; make sure that only one agent uses it.');
      return;
    }
    if (cause instanceof AgentError) throw cause;
    const link = danglingLink(directory);
    if (link !== undefined) throw new AgentError('STATE_DIRECTORY_UNUSABLE', ...linkFault(link), { cause });
    const remedy = `Create ${directory} for the user that the agent runs as, or set stateDirectory to another one.`;
    throw unusable(`cannot use the state directory: ${messageOf(cause)}`, remedy, directory, cause);
  }
}

/** The id that names this agent in its messages: made once, and kept for as long as the state directory lives. */
export function keptAgentId(file: string): string {
  try {
    const kept = readFileIfThere(file)?.trim();
    if (kept !== undefined && /^[0-9a-f-]{36}$/i.test(kept)) return kept;
    const id = randomUUID();
    writeFileAtomic(file, `${id}\n`);
    return id;
  } catch (cause) {
    const remedy = 'Make the state directory readable and writable for the user that the agent runs as.';
    throw unusable(`cannot keep the agent's id: ${messageOf(cause)}`, remedy, dirname(file), cause);
  }
}

/** A full disk is not an error of the configuration: the service manager should start the agent again. */
function unusable(what: string, remedy: string, directory: string, cause: unknown): AgentError {
  return ['ENOSPC', 'EDQUOT'].includes(errnoOf(cause) ?? '')
    ? new AgentError('STORE_UNUSABLE', what, `Free disk space or inodes at ${directory}.`, { cause })
    : new AgentError('STATE_DIRECTORY_UNUSABLE', what, remedy, { cause });
}
