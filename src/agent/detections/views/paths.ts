import { listOf } from './options.ts';

const STANDARD_DIRECTORIES = listOf('/bin /sbin /usr/bin /usr/sbin /usr/local/bin /usr/local/sbin');

/** `wget` of `/usr/bin/wget`. */
export const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** `/usr/bin` of `/usr/bin/wget`; empty if there is none. */
export const directoryOf = (path: string): string => path.slice(0, Math.max(path.lastIndexOf('/'), 0));

/** Whether a program is where the search path finds it, so that its name alone means the same. */
export const isStandard = (path: string): boolean => STANDARD_DIRECTORIES.has(directoryOf(path));

/** Another name of the same root: `/proc/self/root`, `/proc/1/root`. */
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

/** A path as seen from a directory; as it is if the directory is not known. */
export function resolvePath(path: string, directory: string | undefined): string {
  if (path.startsWith('/') || directory === undefined || !directory.startsWith('/')) return normalisePath(path);
  return normalisePath(`${directory}/${path.startsWith('./') ? path.slice(2) : path}`);
}

const DEVICE = /^\/dev\/(?!shm\/|mqueue\/)/;

/** Whether a path is that of a device, not of a file that lies beside them. */
export const isDevice = (path: string): boolean => DEVICE.test(path);
