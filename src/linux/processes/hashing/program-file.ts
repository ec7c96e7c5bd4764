import { constants, openSync } from 'node:fs';
import { type FileState, isSame, stateOf } from '../../../host/file-state.ts';
import type { LocalFiles } from '../../../host/local-files.ts';
import type { Known } from './known-digests.ts';

/** Where a file is, as long as it is there: under a path of the host's, as the image of a process, or both. */
export interface Whereabouts {
  readonly path?: string;
  readonly pid?: number;
}

/** A file that is to be read. */
export interface Task {
  readonly key: string;
  readonly known: Known;
  readonly where: Whereabouts;
}

/** What came of reading a file: its digest, or why there is none. */
export type Outcome = { readonly sha256: string } | 'changed' | 'unreadable' | 'takesLong';

/**
 * Opens just that file. It is looked at before it is opened: somebody may have put a device in its place, and opening one
 * can have effects. Doesn't wait where somebody holds a lease on it.
 */
export function openProgram(
  files: LocalFiles,
  { path, pid }: Whereabouts,
  file: FileState,
): number | 'changed' | 'unreadable' {
  const ways = [
    () => (path === undefined ? 'absent' : files.at(path)),
    () => (pid === undefined ? 'absent' : files.image(pid)),
  ];
  for (const way of ways) {
    const handle = way();
    if (typeof handle === 'string') continue;
    const there = stateOf(handle);
    if (there === undefined || !isSame(there, file)) continue;
    try {
      return openSync(`/proc/self/fd/${handle}`, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    } catch {
      return 'unreadable';
    }
  }
  return 'changed';
}
