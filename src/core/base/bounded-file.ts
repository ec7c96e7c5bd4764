import { closeSync, constants, openSync, readSync } from 'node:fs';

/**
 * Reads a whole file. A file longer than `maxBytes` is refused, since half a file would be a wrong answer.
 *
 * Also works in /proc and /sys, where files report a size of 0. Never blocks, even if the path is a FIFO.
 *
 * @throws RangeError if the file is longer; otherwise the file system's error
 */
export function readBytes(path: string, maxBytes: number): Buffer {
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const parts: Buffer[] = [];
    for (let total = 0; ; ) {
      const part = Buffer.allocUnsafe(Math.min(64 * 1024, maxBytes + 1));
      const length = readSync(file, part, 0, part.length, null);
      if (length === 0) return Buffer.concat(parts);
      total += length;
      if (total > maxBytes) throw new RangeError(`${path} is longer than ${maxBytes} bytes`);
      parts.push(part.subarray(0, length));
    }
  } finally {
    closeSync(file);
  }
}

/** Like `readBytes`, as UTF-8 text. */
export const readBounded = (path: string, maxBytes: number): string => readBytes(path, maxBytes).toString('utf8');

/** Like `readBounded`, but `undefined` on any error: for facts that may be missing. */
export function readOptional(path: string, maxBytes: number): string | undefined {
  try {
    return readBounded(path, maxBytes);
  } catch {
    return undefined;
  }
}
