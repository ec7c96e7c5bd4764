import { type Dirent, readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import type { RunningAgent } from './situation.ts';

/* What the kernel says of the process that the agent is, or that it would be if it were started as this command was. */

export const processOf = ({ status }: RunningAgent): string =>
  Number.isSafeInteger(status?.pid) ? `/proc/${status?.pid}` : '/proc/self';

/** Its effective user, see proc_pid_status(5); `undefined` when that is hidden. */
export function userOf(process: string): number | undefined {
  const uid = /^Uid:\s+\d+\s+(\d+)/m.exec(text(`${process}/status`))?.[1];
  return uid === undefined ? undefined : Number(uid);
}

/** Its effective capabilities, a bit each, see capabilities(7). */
export function capabilitiesOf(process: string): bigint | undefined {
  const mask = /^CapEff:\s+([0-9a-f]+)$/m.exec(text(`${process}/status`))?.[1];
  return mask === undefined ? undefined : BigInt(`0x${mask}`);
}

/** How many files it may have open. Node raises the soft limit to the hard one when it starts. See proc_pid_limits(5). */
export function openFilesOf(process: string): number | undefined {
  const hard = /^Max open files\s+\S+\s+(\d+|unlimited)/m.exec(text(`${process}/limits`))?.[1];
  return hard === undefined || hard === 'unlimited' ? undefined : Number(hard);
}

/** Where the system mounts control groups, and a limit's file in version 2 and in version 1. See cgroups(7). */
const LIMITS = {
  memory: ['memory.max', 'memory.limit_in_bytes'],
  pids: ['pids.max', 'pids.max'],
} as const;

/**
 * The least limit of its control group and of all above it, as far as they can be seen; `undefined` without one.
 *
 * @param groups for tests
 */
export function groupLimitOf(
  process: string,
  controller: keyof typeof LIMITS,
  groups = '/sys/fs/cgroup',
): number | undefined {
  const limits: number[] = [];
  for (const line of text(`${process}/cgroup`).split('\n')) {
    const [, hierarchy, controllers = '', path = '/'] = /^(\d+):([^:]*):(\/.*)$/.exec(line) ?? [];
    if (hierarchy === undefined) continue;
    const isUnified = controllers === '';
    if (!isUnified && !controllers.split(',').includes(controller)) continue;
    const mounted = isUnified ? groups : join(groups, controllers);
    const [file] = LIMITS[controller].slice(isUnified ? 0 : 1);
    for (let group = path; ; group = posix.dirname(group)) {
      const limit = text(join(mounted, group, file ?? '')).trim();
      if (/^\d{1,19}$/.test(limit)) limits.push(Number(limit));
      if (group === '/') break;
    }
  }
  return limits.length === 0 ? undefined : Math.min(...limits);
}

/** Memory of the machine, in bytes. */
export function memoryOf(meminfo = '/proc/meminfo'): number | undefined {
  const kilobytes = /^MemTotal:\s+(\d+) kB$/m.exec(text(meminfo))?.[1];
  return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
}

/** Of a state directory; an agent has some hundred files in two levels. */
const MOST_NAMES = 10_000;
const DEEPEST = 4;

/**
 * What lies in a folder and below, by paths that begin there; nothing where it can't be seen. Links are not followed:
 * whoever owns the folder could lead root anywhere.
 */
export function namesBelow(folder: string): string[] {
  const found: string[] = [];
  const look = (below: string, depth: number) => {
    for (const entry of entriesOf(join(folder, below))) {
      if (found.length >= MOST_NAMES) return;
      const name = join(below, entry.name);
      found.push(name);
      if (entry.isDirectory() && depth < DEEPEST) look(name, depth + 1);
    }
  };
  look('', 1);
  return found;
}

function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch {
    return [];
  }
}

function text(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
