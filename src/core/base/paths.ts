import { lstatSync, mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { errnoOf } from './errors.ts';

/**
 * Whether a path exists and this process may see it. Unlike existsSync, which uses access(2): that ignores the
 * capabilities of a process that doesn't run as root.
 */
export function exists(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return false; // no permission to search a parent folder
  }
}

/**
 * The symbolic link because of which `path` does not exist: the path itself, or a parent folder. Mostly, the file system
 * that it points to is not mounted.
 *
 * @returns `undefined` if there is no such link, or if it may not be seen
 */
export function danglingLink(path: string): string | undefined {
  for (let at = path; ; at = dirname(at)) {
    try {
      if (lstatSync(at, { throwIfNoEntry: false }) !== undefined) return pointsNowhere(at) ? at : undefined;
    } catch {
      return undefined; // below a file, or in a folder that this process may not search
    }
    if (dirname(at) === at) return undefined;
  }
}

const pointsNowhere = (at: string): boolean => statSync(at, { throwIfNoEntry: false }) === undefined;

/** What is wrong with such a link on the way to the state directory, and the remedy. */
export const linkFault = (link: string): [string, string] => [
  `${link} is a symbolic link to a path that does not exist`,
  'Mount the file system it points to, or set stateDirectory to another path.',
];

/**
 * Makes a folder, and those above it, with the same mode; one that exists stays as it is. Not `mkdirSync` with `recursive`,
 * which does not return for a folder in /proc (Node 20).
 *
 * @throws the file system's error, also if the path is something else than a folder
 */
export function makeFolder(path: string, mode: number): void {
  if (tryMake(path, mode)) return;
  makeFolder(dirname(path), mode);
  mkdirSync(path, { mode });
}

/** @returns false if the folder above is missing */
function tryMake(path: string, mode: number): boolean {
  try {
    mkdirSync(path, { mode });
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' && dirname(path) !== path) return false;
    if (errnoOf(error) === 'EEXIST' && statSync(path).isDirectory()) return true;
    throw error;
  }
}
