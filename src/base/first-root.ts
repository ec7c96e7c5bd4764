import { readlinkSync } from 'node:fs';
import { isThere } from './is-there.ts';

/** The root as the first process sees it, for whoever may trace that (CAP_SYS_PTRACE). */
export const FIRST_ROOT = '/proc/1/root';

/**
 * Whether this process sees other mounts than the first one, whose it can see: a service that is protected has devices,
 * temporary files and homes of its own, no kernel modules, and all read-only, which says nothing of the system.
 */
export function hasOwnMounts(): boolean {
  const first = mountsOf('1');
  return first !== undefined && first !== mountsOf('self') && isThere(`${FIRST_ROOT}/proc/1`);
}

function mountsOf(process: string): string | undefined {
  try {
    return readlinkSync(`/proc/${process}/ns/mnt`);
  } catch {
    return undefined; // another's, and we may not trace it
  }
}
