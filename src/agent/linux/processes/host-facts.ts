import { readlinkSync } from 'node:fs';
import type { Clock } from '../../../core/base/clock.ts';
import type { FileFacts } from '../../../core/contract/ancestry.ts';
import { isRootOwned, stateOf } from '../../host/file-state.ts';
import { hostProc } from '../../host/in-root.ts';
import type { LocalFile, LocalFiles } from '../../host/local-files.ts';
import { cachedHostFiles } from '../native/cached-names.ts';

/** Facts about the files of this host and the processes that run them. Looks only cached names up, and never waits. */
export function hostFacts({
  hostRoot,
  clock,
  files = cachedHostFiles({ hostRoot, clock }),
}: {
  hostRoot: string;
  clock: Clock;
  files?: LocalFiles;
}): FileFacts {
  const proc = hostProc(hostRoot);
  const isSame = (pid: number, namespace: string): boolean => {
    const actual = linkAt(`${proc}/${pid}/ns/${namespace}`);
    // Without CAP_SYS_PTRACE, the first process's may be hidden. The agent's own is the host's, or matches nothing else.
    const hosts = linkAt(`${proc}/1/ns/${namespace}`) ?? linkAt(`/proc/self/ns/${namespace}`);
    return actual !== undefined && actual === hosts;
  };
  return {
    isRootOwned: (path) => isRootOwned(files, path),
    runsHostFile(pid, path, sameMounts) {
      const image = files.image(pid);
      if (image === 'absent') return undefined;
      const running = fileOf(image); // before the next lookup, which may close the descriptor
      const there = fileOf(files.at(path));
      if (running === undefined || running !== there) return false;
      return isSame(pid, 'user') && (!sameMounts || isSame(pid, 'mnt'));
    },
  };
}

function fileOf(file: LocalFile): string | undefined {
  const state = typeof file === 'number' ? stateOf(file) : undefined;
  return state === undefined ? undefined : `${state.dev}:${state.ino}`;
}

function linkAt(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined; // it exited, or may not be examined
  }
}
