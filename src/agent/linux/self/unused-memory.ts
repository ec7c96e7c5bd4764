import { readFileSync } from 'node:fs';
import { systemCalls } from '../native/system-calls.ts';

/** From asm-generic/mman-common.h; the same on all platforms of Node. See madvise(2). */
const MADV_DONTNEED = 4;

/** A mapping of a process, from /proc/PID/smaps. */
interface Mapping {
  /** Its address range, permissions, and offset in which file. */
  readonly identity: string;
  readonly start: number;
  readonly bytes: number;
}

/**
 * Memory of this process that is resident but unused: freed memory that the C library keeps, and pages of Node's program
 * and of libraries, most of which are needed at start only. Pages needed again are read from the page cache.
 *
 * Create it early. It only drops mappings that exist by then: later ones, such as the C library's modules for name
 * resolution, may change or vanish while they are examined.
 */
export class UnusedMemory {
  readonly #lasting: ReadonlySet<string>;

  constructor() {
    this.#lasting = new Set(lines(ownFile('maps')).flatMap((line) => MAPPING.exec(line)?.[0] ?? []));
  }

  /** Collect garbage first. Takes about 5 ms, does nothing where koffi has no binary, and never throws. */
  release(): void {
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
    return ''; // /proc is missing, or the kernel has no smaps
  }
}

/** The kernel escapes only line feeds in file names. */
const lines = (text: string) => text.split('\n');

/** A private, non-writable mapping of a file. See proc_pid_maps(5). */
const MAPPING = /^([0-9a-f]+)-([0-9a-f]+) r-[x-]p [0-9a-f]+ [0-9a-f]+:[0-9a-f]+ [1-9][0-9]*(?= )/;

/**
 * The mappings whose pages can be dropped because their file has the same content: private, non-writable, and without
 * modified pages, such as those of the dynamic linker or a debugger. Nothing else about the format is assumed, nor that
 * the figures are right: qemu's user mode reports 0 for all. See proc_pid_smaps(5).
 */
export function reproducible(smaps: string): Mapping[] {
  return smaps.split(/(?<=\n)(?=[0-9a-f]+-[0-9a-f]+ )/).flatMap((section) => {
    const [head = '', ...figures] = lines(section);
    const [identity, start, end] = MAPPING.exec(head) ?? [];
    if (identity === undefined || start === undefined || end === undefined) return [];
    const matches = (figure: RegExp) => figures.some((line) => figure.test(line));
    if (!matches(/^Rss: +[1-9]/) || !matches(/^Anonymous: +0 kB$/) || matches(ELSEWHERE)) return [];
    // A double represents addresses of user space exactly: they have 47 bits, and at most 52 on arm64.
    const [first, behind] = [Number.parseInt(start, 16), Number.parseInt(end, 16)];
    return behind > first && Number.isSafeInteger(behind) ? [{ identity, start: first, bytes: behind - first }] : [];
  });
}

/** Swapped, locked or huge pages: the mapping stays. */
const ELSEWHERE = /^(?:Swap|Locked|Shared_Hugetlb|Private_Hugetlb): +[1-9]/;
