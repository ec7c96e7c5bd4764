import { readFileSync } from 'node:fs';

const KIB = 1024;
/** By how much memory shared with others must change until the mappings are read again, which takes milliseconds. */
const NOTEWORTHY = 1024 * KIB;

/** The last reading of the mappings: the shared memory then, and how much of it is pages of program files. */
let reading = { shared: 0, ofPrograms: 0 };

/**
 * Memory in bytes that this process takes from the machine: what is resident, except for unchanged pages of files, which belong to
 * Node's program and to libraries. The kernel drops them when memory is short, and all processes of a program share them. On a
 * tmpfs they stay in memory, but not because of this process. Without the kernel's figures (before Linux 4.5), all resident
 * memory. Never throws.
 *
 * @param enough all resident memory is returned if it is at most this, which takes a quarter of the time
 */
export function ownMemory(enough = 0): number {
  const resident = process.memoryUsage.rss();
  if (resident <= enough) return resident;
  const status = ownFile('status');
  return withoutFiles(status, () => ownFile('smaps')) ?? resident;
}

function ownFile(name: string): string {
  try {
    return readFileSync(`/proc/self/${name}`, 'latin1');
  } catch {
    return '';
  }
}

/**
 * @param status the text of /proc/PID/status, see proc_pid_status(5)
 * @param mappings returns the text of /proc/PID/smaps; called if there is shared memory, which pages of files on a tmpfs count as
 */
export function withoutFiles(status: string, mappings: () => string): number | undefined {
  const resident = bytesIn(status, /^VmRSS:\s+(\d+) kB$/m);
  const ofFiles = bytesIn(status, /^RssFile:\s+(\d+) kB$/m);
  if (resident === undefined || ofFiles === undefined) return undefined;
  const shared = bytesIn(status, /^RssShmem:\s+(\d+) kB$/m) ?? 0;
  if (Math.abs(shared - reading.shared) >= NOTEWORTHY)
    reading = { shared, ofPrograms: Math.max(0, fileBytesIn(mappings()) - ofFiles) };
  return Math.max(0, resident - ofFiles - Math.min(reading.ofPrograms, shared));
}

/** A mapping's first line in smaps: private (`p`), with a device and the path of a file. */
const PRIVATE_FILE = /^[0-9a-f]+-[0-9a-f]+ ..[x-]p [0-9a-f]+ [0-9a-f]+:[0-9a-f]+ [1-9]\d* +\//;

/** Bytes of unchanged pages in private mappings of files. Shared mappings of files are the process's own memory. */
function fileBytesIn(mappings: string): number {
  return mappings
    .split(/\n(?=[0-9a-f]+-)/)
    .filter((mapping) => PRIVATE_FILE.test(mapping))
    .reduce(
      (all, mapping) =>
        all + (bytesIn(mapping, /^Rss:\s+(\d+) kB$/m) ?? 0) - (bytesIn(mapping, /^Anonymous:\s+(\d+) kB$/m) ?? 0),
      0,
    );
}

function bytesIn(text: string, field: RegExp): number | undefined {
  const found = field.exec(text)?.[1];
  return found === undefined ? undefined : Number(found) * KIB;
}
