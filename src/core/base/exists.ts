import { statSync } from 'node:fs';

/**
 * Whether a path exists and this process may see it. Unlike existsSync, which uses access(2): that ignores the
 * capabilities of a process that doesn't run as root.
 */
export function exists(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return false; // no permission to search a parent folder
  }
}
