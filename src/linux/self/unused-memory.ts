import { readFileSync } from 'node:fs';
import { systemCalls } from '../native/system-calls.ts';

/** Of asm-generic/mman-common.h; the same wherever Node runs. See madvise(2). */
const MADV_DONTNEED = 4;

/** A part of a process's memory, as /proc/PID/smaps tells of it. */
interface Mapping {
  /** What it is: its place in memory, how it may be used, and its place in which file. */
  readonly identity: string;
  readonly start: number;
  readonly bytes: number;
}

/**
 * What this process has in memory and nobody uses: what the C library keeps of freed memory, and the pages of Node's
 * program and of libraries, most of which only the start needed. What is needed again comes back from the page cache.
 *
 * To be made early. Only what is mapped by then is ever dropped: what a thread maps later, such as the C library's modules
 * for looking up names, may be changing or going just when it is looked at.
 */
export class UnusedMemory {
  readonly #lasting: ReadonlySet<string>;

  constructor() {
    this.#lasting = new Set(lines(ownFile('maps')).flatMap((line) => MAPPING.exec(line)?.[0] ?? []));
  }

  /** Garbage is to be collected first. It takes some 5 ms, does nothing where koffi has no binary, and never throws. */
  giveBack(): void {
    try {
      const { mallocTrim, madvise } = systemCalls();
      mallocTrim(0);
      for (const { identity, start, bytes } of reproducible(ownFile('smaps'))) {
        if (this.#lasting.has(identity)) madvise(start, bytes, MADV_DONTNEED);
      }
    } catch {
      // no koffi
    }
  }
}

function ownFile(name: 'maps' | 'smaps'): string {
  try {
    return readFileSync(`/proc/self/${name}`, 'latin1');
  } catch {
    return ''; // no /proc, or a kernel without it
  }
}

/** Of names that files have, the kernel escapes nothing but line feeds. */
const lines = (text: string) => text.split('\n');

/** Private, never to be written, and of a file. See proc_pid_maps(5). */
const MAPPING = /^([0-9a-f]+)-([0-9a-f]+) r-[x-]p [0-9a-f]+ [0-9a-f]+:[0-9a-f]+ [1-9][0-9]*(?= )/;

/**
 * The mappings whose pages can be dropped, since a file holds the same: private ones that can't be written, none of whose
 * pages was written nevertheless, as by the dynamic linker or a debugger. Neither that nor anything else about the format
 * is taken for granted, nor that the figures are true: qemu's user mode says 0 to all. See proc_pid_smaps(5).
 */
export function reproducible(smaps: string): Mapping[] {
  return smaps.split(/(?<=\n)(?=[0-9a-f]+-[0-9a-f]+ )/).flatMap((section) => {
    const [head = '', ...figures] = lines(section);
    const [identity, start, end] = MAPPING.exec(head) ?? [];
    if (identity === undefined || start === undefined || end === undefined) return [];
    const says = (figure: RegExp) => figures.some((line) => figure.test(line));
    if (!says(/^Rss: +[1-9]/) || !says(/^Anonymous: +0 kB$/) || says(ELSEWHERE)) return [];
    // A double holds the addresses of user space: they have 47 bits, and 52 at most on arm64.
    const [first, behind] = [Number.parseInt(start, 16), Number.parseInt(end, 16)];
    return behind > first && Number.isSafeInteger(behind) ? [{ identity, start: first, bytes: behind - first }] : [];
  });
}

/** Pages that are not counted as anonymous, or must stay. */
const ELSEWHERE = /^(?:Swap|Locked|Shared_Hugetlb|Private_Hugetlb): +[1-9]/;
