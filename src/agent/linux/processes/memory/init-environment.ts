import { readOptional } from '../../../../core/base/bounded-file.ts';
import { parseUserId } from '../../../host/proc-folder.ts';

const MAX_BYTES = 64 * 1024;

/**
 * The environment of the first process that the agent can see, as text; '' when it cannot be read.
 *
 * Read on the main thread, and only if that process runs as root in the agent's own PID and user namespaces, or as the
 * agent's own user: those could stop the agent anyway. The first process of another user could block it.
 *
 * @param proc the agent's own /proc
 */
export function initEnvironment(proc: string): string {
  const user = parseUserId(readOptional(`${proc}/1/status`, MAX_BYTES) ?? '');
  if (user !== 0 && user !== process.geteuid?.()) return '';
  return readOptional(`${proc}/1/environ`, MAX_BYTES) ?? '';
}
