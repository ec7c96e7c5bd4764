import type { HostFiles, Unreadable } from '../host/host-files.ts';

/** Folders of programs, with and without /bin being a link to /usr/bin; the last two have those of systemd's services. */
const FOLDERS = [
  '/usr/sbin',
  '/usr/bin',
  '/sbin',
  '/bin',
  '/usr/local/sbin',
  '/usr/local/bin',
  '/usr/lib/systemd',
  '/lib/systemd',
];

/** @returns the path of a program; `undefined` if it is in none of the usual folders */
export const findProgram = (files: HostFiles, name: string): string | undefined =>
  FOLDERS.map((folder) => `${folder}/${name}`).find((path) => files.exists(path));

/** Returns true if the folder cannot be read: a later check reports the reason. */
export const hasProgram = (files: HostFiles, name: string): boolean =>
  FOLDERS.some((folder) => files.mayBeThere(`${folder}/${name}`));

/** Why a program that wasn't found may still exist. */
export function whyUnseen(files: HostFiles, name: string): Unreadable | undefined {
  for (const folder of FOLDERS) {
    const look = files.stat(`${folder}/${name}`);
    if ('unreadable' in look) return look;
  }
  return undefined;
}
