import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { errnoOf } from './errors.ts';

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
