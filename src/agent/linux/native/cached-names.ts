import { closeSync, constants } from 'node:fs';
import { constants as system } from 'node:os';
import type { Clock } from '../../../core/base/clock.ts';
import { hostFiles, type LocalFiles, O_PATH, type OpenCached } from '../../host/local-files.ts';
import { systemCalls } from './system-calls.ts';

/** From linux/openat2.h, Linux 5.12: fail with EAGAIN where the lookup of a name would have to wait. */
const RESOLVE_CACHED = 0x20n;
/** From asm-generic/fcntl.h, for all platforms of Node. */
const O_CLOEXEC = 0o2000000;
const AT_FDCWD = -100;

/** `struct open_how`: flags, mode and resolve, 64 bits each. */
const HOW = Buffer.from(
  BigUint64Array.of(BigInt(O_PATH | constants.O_NOFOLLOW | O_CLOEXEC), 0n, RESOLVE_CACHED).buffer,
);

let found: { readonly open: OpenCached | undefined } | undefined;

/** @returns `undefined` before Linux 5.12, without koffi, and where a filter of system calls refuses openat2(2) */
export function openCached(): OpenCached | undefined {
  found ??= { open: isSupported() ? open : undefined };
  return found.open;
}

/** The host's files, looked up in a way in which no user can make the agent wait, where the kernel has one. */
export const cachedHostFiles = (options: { hostRoot: string; clock: Pick<Clock, 'monotonic'> }): LocalFiles =>
  hostFiles({ ...options, openCached: openCached() });

function open(folder: number, name: string): number | 'absent' | 'uncached' {
  const { openat2, errno } = systemCalls();
  const file = openat2(folder, name, HOW);
  if (file >= 0) return file;
  return errno() === system.errno.EAGAIN ? 'uncached' : 'absent';
}

/** Tried with the root directory, which is always cached. */
function isSupported(): boolean {
  try {
    const root = systemCalls().openat2(AT_FDCWD, '/', HOW);
    if (root >= 0) closeSync(root);
    return root >= 0;
  } catch {
    return false; // no koffi
  }
}
