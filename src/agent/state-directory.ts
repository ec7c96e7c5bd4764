import { randomUUID } from 'node:crypto';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { readFileIfThere, writeFileAtomic } from '../base/atomic-file.ts';
import { AgentError, messageOf } from '../base/errors.ts';
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
      const remedy = `Take the permission to write from others: chmod go-w ${shellWord(directory)}`;
      throw new AgentError('STATE_DIRECTORY_UNUSABLE', `others can write to ${directory}`, remedy);
    }
    lockFile(join(directory, 'lock'));
  } catch (cause) {
    if (cause instanceof AgentError && cause.id === 'SOCKET_UNAVAILABLE') {
      log.warn({ err: cause }, 'Could not lock the state directory; see to it that only one agent uses it.');
      return;
    }
    if (cause instanceof AgentError) throw cause;
    const remedy = `Create ${directory} for the user that the agent runs as, or set stateDirectory to another one.`;
    const what = `cannot use the state directory: ${messageOf(cause)}`;
    throw new AgentError('STATE_DIRECTORY_UNUSABLE', what, remedy, { cause });
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
    throw new AgentError('STATE_DIRECTORY_UNUSABLE', `cannot keep the agent's id: ${messageOf(cause)}`, remedy, {
      cause,
    });
  }
}
