import { AgentError } from '../../../core/base/errors.ts';
import { systemCalls } from './system-calls.ts';

/** Terminates a string in C. */
const END = Buffer.alloc(1);

/**
 * How to find out whether a file has capabilities(7). A symbolic link at the end of the path is not followed. A file that
 * is gone, or whose file system has no such attributes, has none.
 *
 * @returns `undefined` when koffi has no binary for this platform
 */
export function fileCapabilities(): ((path: Buffer) => boolean) | undefined {
  try {
    const { lgetxattr } = systemCalls();
    return (path) => lgetxattr(Buffer.concat([path, END]), 'security.capability', null, 0) >= 0;
  } catch (error) {
    if (error instanceof AgentError && error.id === 'SOCKET_UNAVAILABLE') return undefined;
    throw error;
  }
}
