import * as v from 'valibot';
import { notUnderstood } from '../../core/base/control-socket.ts';
import { type LocalStatus, LocalStatusSchema } from '../status/schema.ts';

/**
 * What `use` makes of the answer to `/status`. An agent of another version may answer with less or more: what can be used is
 * used.
 *
 * @param path of the control socket
 * @throws AgentError AGENT_NOT_RUNNING if `use` throws and the answer is not a status of this version; otherwise the error of `use`
 */
export function understood<T>(status: LocalStatus, path: string, use: (status: LocalStatus) => T): T {
  try {
    return use(status);
  } catch (error) {
    throw v.is(LocalStatusSchema, status) ? error : notUnderstood(path);
  }
}
