import { readlinkSync } from 'node:fs';
import { exists } from '../../core/base/paths.ts';

/** The root directory of process 1; reading it requires CAP_SYS_PTRACE. */
export const FIRST_ROOT = '/proc/1/root';

/**
 * Whether this process has another mount namespace than process 1, and can read that one. A sandboxed service has
 * private /dev, /tmp and /home, no kernel modules, and read-only mounts, which do not describe the system.
 */
export function hasOwnMounts(): boolean {
  const first = mountsOf('1');
  return first !== undefined && first !== mountsOf('self') && exists(`${FIRST_ROOT}/proc/1`);
}

function mountsOf(process: string): string | undefined {
  try {
    return readlinkSync(`/proc/${process}/ns/mnt`);
  } catch {
    return undefined; // another user's process, which may not be traced
  }
}
