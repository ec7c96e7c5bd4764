import { stateOf } from './file-state.ts';
import type { LocalFiles } from './local-files.ts';

const OTHERS_WRITE = 0o022n;

/**
 * Whether only root can have created this file and its path: root owns the file and every folder on the path, and no
 * other user can write to them. False for a file that is not on a local file system or cannot be examined.
 *
 * @param path a path of the host, as the kernel writes it
 */
export function isRootOwned(files: LocalFiles, path: string): boolean {
  for (let end = path.indexOf('/', 1); ; end = path.indexOf('/', end + 1)) {
    const part = files.at(end === -1 ? path : path.slice(0, end));
    const state = typeof part === 'number' ? stateOf(part) : undefined;
    if (state === undefined || state.uid !== 0n || (state.mode & OTHERS_WRITE) !== 0n) return false;
    if (end === -1) return (state.mode & 0o170000n) === 0o100000n;
  }
}
