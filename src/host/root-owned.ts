import { stateOf } from './file-state.ts';
import type { LocalFiles } from './local-files.ts';

const OTHERS_WRITE = 0o022n;

/**
 * Whether nobody but root can have put this file where it is: it is root's, as is every folder on its path, and none of
 * them can be written by others. A file that isn't on a local file system, or can't be looked at, is not.
 *
 * @param path of the host's, as the kernel writes it
 */
export function isRootOwned(files: LocalFiles, path: string): boolean {
  for (let end = path.indexOf('/', 1); ; end = path.indexOf('/', end + 1)) {
    const part = files.at(end === -1 ? path : path.slice(0, end));
    const state = typeof part === 'number' ? stateOf(part) : undefined;
    if (state === undefined || state.uid !== 0n || (state.mode & OTHERS_WRITE) !== 0n) return false;
    if (end === -1) return (state.mode & 0o170000n) === 0o100000n;
  }
}
