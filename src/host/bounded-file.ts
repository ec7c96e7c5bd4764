import { closeSync, constants, openSync, readSync } from 'node:fs';

/**
 * A whole file, read only when it isn't longer than `mostBytes`: half a file would be a wrong answer.
 *
 * Works for files of /proc and /sys too, which say their size is 0. Never waits, not even when somebody put a FIFO there.
 *
 * @throws RangeError when it is longer, else what the file system says
 */
export function readBytes(path: string, mostBytes: number): Buffer {
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const parts: Buffer[] = [];
    for (let total = 0; ; ) {
      const part = Buffer.allocUnsafe(Math.min(64 * 1024, mostBytes + 1));
      const length = readSync(file, part, 0, part.length, null);
      if (length === 0) return Buffer.concat(parts);
      total += length;
      if (total > mostBytes) throw new RangeError(`${path} is longer than ${mostBytes} bytes`);
      parts.push(part.subarray(0, length));
    }
  } finally {
    closeSync(file);
  }
}

/** The same, as UTF-8 text. */
export const readBounded = (path: string, mostBytes: number): string => readBytes(path, mostBytes).toString('utf8');

/** The same, but `undefined` whatever is the matter: for facts that may be missing. */
export function readOptional(path: string, mostBytes: number): string | undefined {
  try {
    return readBounded(path, mostBytes);
  } catch {
    return undefined;
  }
}
