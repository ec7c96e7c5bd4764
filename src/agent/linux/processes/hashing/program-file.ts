import { constants, openSync } from 'node:fs';
import { type FileState, isSame, stateOf } from '../../../host/file-state.ts';
import type { LocalFiles } from '../../../host/local-files.ts';
import type { DigestOutcome } from '../../../host/sliced-digest.ts';
import type { Known } from './known-digests.ts';

/** How to open a file while it exists: by a path of the host, as the program of a process, or both. */
export interface Whereabouts {
  readonly path?: string;
  readonly pid?: number;
}

/** A file to be read. */
export interface Task {
  readonly key: string;
  readonly known: Known;
  readonly where: Whereabouts;
}

/** The result of reading a file: its digest, or why there is none. */
export type Outcome = DigestOutcome | 'takesLong';

/**
 * Opens exactly this file. It is checked before it is opened, since a device may have been put in its place, and opening a
 * device can have side effects. Does not wait if another process holds a lease on it.
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
