import { lstatSync, mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { errnoOf } from './errors.ts';

/**
 * Whether a path exists and is visible to this process. existsSync uses access(2), which ignores the capabilities of a
 * process that does not run as root.
 */
export function exists(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return false; // no permission to search a parent folder
  }
}

/**
 * The dangling symbolic link that keeps `path` from existing: the path itself or a parent folder. Its target is usually
 * on a file system that is not mounted.
 *
 * @returns `undefined` if there is no such link or it cannot be read
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

/** The error for a dangling link in the path of the state directory, and its remedy. */
export const linkFault = (link: string): [string, string] => [
  `${link} is a symbolic link to a path that does not exist`,
  'Mount the file system it points to, or set stateDirectory to another path.',
];

/**
 * Creates a folder and its missing parents with the same mode; an existing folder is left unchanged. `mkdirSync` with
 * `recursive` never returns for a folder in /proc (Node 20).
 *
 * @throws the file system's error, including EEXIST if the path is not a folder
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
