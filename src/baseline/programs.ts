import type { HostFiles, Unreadable } from '../host/host-files.ts';

/** Where programs are; both where /bin is a link to /usr/bin and where it isn't. */
const FOLDERS = ['/usr/sbin', '/usr/bin', '/sbin', '/bin', '/usr/local/sbin', '/usr/local/bin'];

/** @returns where a program is, `undefined` when it is in none of the usual folders */
export const findProgram = (files: HostFiles, name: string): string | undefined =>
  FOLDERS.map((folder) => `${folder}/${name}`).find((path) => files.exists(path));

/** Also when nobody can say: whoever looks on will find out why not. */
export const hasProgram = (files: HostFiles, name: string): boolean =>
  FOLDERS.some((folder) => files.mayBeThere(`${folder}/${name}`));

/** Why a program that wasn't found may still be there. */
export function whyUnseen(files: HostFiles, name: string): Unreadable | undefined {
  for (const folder of FOLDERS) {
    const look = files.stat(`${folder}/${name}`);
    if ('unreadable' in look) return look;
  }
  return undefined;
}
