import { statSync } from 'node:fs';

/**
 * Whether there is something at a path that this process may see. Unlike existsSync, which asks access(2): for that, the
 * capabilities of an ordinary user don't count.
 */
export function isThere(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return false; // a folder on the way is closed
  }
}
