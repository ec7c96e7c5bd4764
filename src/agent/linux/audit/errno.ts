import { getSystemErrorName } from 'node:util';

/** An error like those of node:fs, for a number or name that the kernel gave in a message. See errno(3). */
export function systemError(errno: number | string, call: string): NodeJS.ErrnoException {
  const code = typeof errno === 'string' ? errno : nameOf(errno);
  return Object.assign(new Error(`${code}: ${call}`), { code });
}

const nameOf = (errno: number): string => {
  try {
    return getSystemErrorName(-errno);
  } catch {
    return `errno ${errno}`; // out of range: a number that no kernel gives
  }
};
