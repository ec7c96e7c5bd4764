import { readOptional } from '../../../host/bounded-file.ts';
import { parseUserId } from '../../../host/proc-folder.ts';

const MOST_BYTES = 64 * 1024;

/**
 * The environment of the first process that the agent can see, as text; '' when it can't be read.
 *
 * On the main thread: whoever is root in the agent's own PID and user namespaces, or has the agent's own user id, could
 * end it anyway. The first process of another user isn't read, since it could block the agent.
 *
 * @param proc the agent's own /proc
 */
export function initEnvironment(proc: string): string {
  const user = parseUserId(readOptional(`${proc}/1/status`, MOST_BYTES) ?? '');
  if (user !== 0 && user !== process.geteuid?.()) return '';
  return readOptional(`${proc}/1/environ`, MOST_BYTES) ?? '';
}
