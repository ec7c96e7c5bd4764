import { closeSync, openSync, readlinkSync, readSync } from 'node:fs';
import { parseCommandLine } from '../proc-folder.ts';

/** Of a longer one, the rest isn't read. */
const MOST_BYTES = 128 * 1024;
const buffer = Buffer.allocUnsafeSlow(MOST_BYTES);

/**
 * The arguments of a process, joined by one blank, as it has them now.
 *
 * @returns `undefined` when it has ended, or become another program than this
 */
export function readCommandLine(proc: string, pid: number, executable: string): string | undefined {
  try {
    if (readlinkSync(`${proc}/${pid}/exe`) !== executable) return undefined;
    const file = openSync(`${proc}/${pid}/cmdline`, 'r');
    try {
      const length = readSync(file, buffer, 0, MOST_BYTES, 0);
      return parseCommandLine(buffer.toString('utf8', 0, length)).join(' ');
    } finally {
      closeSync(file);
    }
  } catch {
    return undefined; // it has ended, or is hidden
  }
}
