import type { HostFiles } from './host-files.ts';

/** Where programs are; both where /bin is a link to /usr/bin and where it isn't. */
const FOLDERS = ['/usr/sbin', '/usr/bin', '/sbin', '/bin', '/usr/local/sbin', '/usr/local/bin'];

/** @returns where a program is, `undefined` when it is in none of the usual folders */
export const findProgram = (files: HostFiles, name: string): string | undefined =>
  FOLDERS.map((folder) => `${folder}/${name}`).find((path) => files.exists(path));

export const hasProgram = (files: HostFiles, name: string): boolean => findProgram(files, name) !== undefined;
