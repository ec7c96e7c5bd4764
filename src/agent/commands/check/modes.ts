import type { Stats } from 'node:fs';

/** Bits of st_mode, see inode(7). */
const GROUP_OR_OTHERS_WRITE = 0o022;
const STICKY = 0o1000;

/** The mode as chmod(1) takes it: `0640`. */
export const octal = (mode: number): string => (mode & 0o7777).toString(8).padStart(4, '0');

/** Whether users other than the owner can change a file, or replace files in a folder. */
export function othersCanWrite(stats: Stats): boolean {
  if ((stats.mode & GROUP_OR_OTHERS_WRITE) === 0) return false;
  return !(stats.isDirectory() && (stats.mode & STICKY) !== 0); // like /tmp: users can replace only their own files
}
