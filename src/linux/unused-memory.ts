import { readFileSync } from 'node:fs';
import { systemCalls } from './system-calls.ts';

/** Of asm-generic/mman-common.h; the same wherever Node runs. See madvise(2). */
const MADV_DONTNEED = 4;

/** A part of a process's memory, as /proc/PID/smaps tells of it. */
interface Mapping {
  readonly start: number;
  readonly bytes: number;
}

/**
 * Gives the system what this process has in memory and nobody uses: what the C library keeps of freed memory, and the
 * pages of Node's program and of libraries, most of which only the start needed. What is needed again comes back from
 * the page cache. Garbage is to be collected first. It takes some 5 ms, and does nothing where koffi has no binary.
 */
export function giveBackUnusedMemory(): void {
  try {
    const { mallocTrim, madvise } = systemCalls();
    mallocTrim(0);
    for (const { start, bytes } of reproducible(readFileSync('/proc/self/smaps', 'latin1'))) {
      madvise(start, bytes, MADV_DONTNEED);
    }
  } catch {
    // no koffi, or no /proc
  }
}

/**
 * The mappings whose pages can be dropped, since a file holds the same: private ones that can't be written, none of whose
 * pages was written nevertheless, as by the dynamic linker or a debugger. Neither that nor anything else about the format
 * is taken for granted; see proc_pid_smaps(5).
 */
export function reproducible(smaps: string): Mapping[] {
  return smaps.split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m).flatMap((section) => {
    const [, start, end] = /^([0-9a-f]+)-([0-9a-f]+) r-[x-]p \S+ \S+ [1-9]/.exec(section) ?? [];
    if (start === undefined || end === undefined) return [];
    if (!/^Anonymous: +0 kB$/m.test(section) || /^(?:Swap|Locked): +[1-9]/m.test(section)) return [];
    // A double holds the addresses of user space: they have 47 bits, and 52 at most on arm64.
    const [first, behind] = [Number.parseInt(start, 16), Number.parseInt(end, 16)];
    return behind > first && Number.isSafeInteger(behind) ? [{ start: first, bytes: behind - first }] : [];
  });
}
