import { lstatSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

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
