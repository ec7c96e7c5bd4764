import { type BigIntStats, fstatSync } from 'node:fs';
import { seconds } from '../../core/base/duration.ts';
import type { LocalFiles } from './local-files.ts';

/** Changes whenever the file is replaced or its content changes. */
export type FileState = Pick<BigIntStats, 'dev' | 'ino' | 'ctimeNs' | 'mtimeNs' | 'size'>;

/**
 * Times of files and of audit come from the kernel's clock tick, of at most 10 ms; FAT stores times with a resolution of 2 s. Two
 * changes within one tick cannot be distinguished: a file hashed this soon after a change may have changed again unnoticed.
 */
export const COARSEST_TIME = seconds(2);

export const isSame = (a: FileState, b: FileState): boolean =>
  a.ino === b.ino && a.ctimeNs === b.ctimeNs && a.size === b.size && a.mtimeNs === b.mtimeNs && a.dev === b.dev;

/** A file that can be executed; none of /proc and /sys, where reading can have side effects. */
export const isProgram = ({ mode, size }: BigIntStats): boolean =>
  (mode & 0o170000n) === 0o100000n && (mode & 0o111n) !== 0n && size > 0n;

/** @param file a descriptor of a file on a local file system: on others, fstat(2) may never return */
export function stateOf(file: number): BigIntStats | undefined {
  try {
    return fstatSync(file, { bigint: true });
  } catch {
    return undefined;
  }
}

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
