import { readFileSync } from 'node:fs';

const KIB = 1024;

/**
 * Memory in bytes that this process takes from the machine: what is resident, but for unchanged pages of files, which are those
 * of Node's program and of libraries. The kernel drops them when memory is short, and all processes of a program share them.
 * The whole of what is resident where the kernel doesn't tell (before Linux 4.5). Never throws.
 *
 * @param enough the whole of what is resident is also returned if it is not more than this: that takes a quarter of the time
 */
export function ownMemory(enough = 0): number {
  const resident = process.memoryUsage.rss();
  return resident <= enough ? resident : (withoutFiles(ownStatus()) ?? resident);
}

function ownStatus(): string {
  try {
    return readFileSync('/proc/self/status', 'latin1');
  } catch {
    return '';
  }
}

/** @param status the text of /proc/PID/status, see proc_pid_status(5) */
export function withoutFiles(status: string): number | undefined {
  const resident = kilobytes(status, /^VmRSS:\s+(\d+) kB$/m);
  const ofFiles = kilobytes(status, /^RssFile:\s+(\d+) kB$/m);
  return resident === undefined || ofFiles === undefined ? undefined : Math.max(0, resident - ofFiles) * KIB;
}

function kilobytes(status: string, field: RegExp): number | undefined {
  const found = field.exec(status)?.[1];
  return found === undefined ? undefined : Number(found);
}
