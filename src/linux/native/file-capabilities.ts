import { AgentError } from '../../base/errors.ts';
import { systemCalls } from './system-calls.ts';

/**
 * How to tell whether a file carries capabilities(7). A link that the path ends in is not followed. What is gone by then,
 * or lies on a file system without such attributes, has none.
 *
 * @returns `undefined` when koffi has no binary here
 */
export function fileCapabilities(): ((path: string) => boolean) | undefined {
  try {
    const { lgetxattr } = systemCalls();
    return (path) => lgetxattr(path, 'security.capability', null, 0) >= 0;
  } catch (error) {
    if (error instanceof AgentError && error.id === 'SOCKET_UNAVAILABLE') return undefined;
    throw error;
  }
}
