import { listOf } from './options.ts';

const STANDARD_DIRECTORIES = listOf('/bin /sbin /usr/bin /usr/sbin /usr/local/bin /usr/local/sbin');

/** `wget` from `/usr/bin/wget`. */
export const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** `/usr/bin` from `/usr/bin/wget`; empty without a directory. */
export const directoryOf = (path: string): string => path.slice(0, Math.max(path.lastIndexOf('/'), 0));

/** Whether a program is on the search path, so that its name alone is equivalent. */
export const isStandard = (path: string): boolean => STANDARD_DIRECTORIES.has(directoryOf(path));

/** Another name of the root directory: `/proc/self/root`, `/proc/1/root`. */
const isProcRoot = (parts: readonly string[]): boolean =>
  parts.length >= 3 &&
  parts[0] === 'proc' &&
  parts[2] === 'root' &&
  (parts[1] === 'self' || parts[1] === 'thread-self' || Number.isInteger(Number(parts[1])));

const needsNormalising = (path: string): boolean =>
  path.includes('//') || path.includes('/.') || path.startsWith('/proc/');

/** `/usr/../bin//nc` → `/bin/nc`. Relative paths keep their leading `./` or `../`. */
export function normalisePath(path: string): string {
  if (!needsNormalising(path)) return path;
  const isAbsolute = path.startsWith('/');
  let kept: string[] = [];
  for (const part of path.split('/')) {
    if (part === '' || (part === '.' && (isAbsolute || kept.length > 0))) continue;
    const last = kept.at(-1);
    if (part !== '..') kept.push(part);
    else if (last !== undefined && last !== '..' && last !== '.' && !last.startsWith('$')) kept.pop();
    else if (!isAbsolute) kept.push(part);
    if (isAbsolute && isProcRoot(kept)) kept = kept.slice(3);
  }
  const end = path.endsWith('/') && kept.length > 0 ? '/' : '';
  return `${isAbsolute ? '/' : ''}${kept.join('/')}${end}`;
}

/** A path resolved against a directory; unchanged if the directory is unknown. */
export function resolvePath(path: string, directory: string | undefined): string {
  if (path.startsWith('/') || directory === undefined || !directory.startsWith('/')) return normalisePath(path);
  return normalisePath(`${directory}/${path.startsWith('./') ? path.slice(2) : path}`);
}

const DEVICE = /^\/dev\/(?!shm\/|mqueue\/)/;

/** Whether a path is a device, as opposed to a file in the same directory. */
export const isDevice = (path: string): boolean => DEVICE.test(path);
