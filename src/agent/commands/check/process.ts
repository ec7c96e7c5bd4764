import { type Dirent, readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { parseUserId } from '../../host/proc-folder.ts';
import type { RunningAgent } from './situation.ts';

/* Facts about the agent's process; without a running agent, about this command's process. */

export const processOf = ({ status }: RunningAgent): string =>
  Number.isSafeInteger(status?.pid) ? `/proc/${status?.pid}` : '/proc/self';

/** Its effective user, see proc_pid_status(5); `undefined` if /proc hides the process. */
export const userOf = (process: string): number | undefined => parseUserId(text(`${process}/status`));

/** Its effective capabilities as a bit mask, see capabilities(7). */
export function capabilitiesOf(process: string): bigint | undefined {
  const mask = /^CapEff:\s+([0-9a-f]+)$/m.exec(text(`${process}/status`))?.[1];
  return mask === undefined ? undefined : BigInt(`0x${mask}`);
}

/**
 * How many files it may have open. Node raises the soft limit to the hard one when it starts. See proc_pid_limits(5).
 */
export function openFilesOf(process: string): number | undefined {
  const hard = /^Max open files\s+\S+\s+(\d+|unlimited)/m.exec(text(`${process}/limits`))?.[1];
  return hard === undefined || hard === 'unlimited' ? undefined : Number(hard);
}

/** The limit's file name in control groups version 2 and version 1. See cgroups(7). */
const LIMITS = {
  memory: ['memory.max', 'memory.limit_in_bytes'],
  pids: ['pids.max', 'pids.max'],
} as const;

/**
 * The lowest limit of its control group and of all visible ones above; `undefined` if there is no limit.
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

/** For a state directory; an agent has about a hundred files in two levels. */
const MAX_NAMES = 10_000;
const MAX_DEPTH = 4;

/**
 * Relative paths of everything below a folder; parts that can't be read are skipped. Links are not followed: the
 * folder's owner could lead root anywhere.
 */
export function namesBelow(folder: string): string[] {
  const found: string[] = [];
  const look = (below: string, depth: number) => {
    for (const entry of entriesOf(join(folder, below))) {
      if (found.length >= MAX_NAMES) return;
      const name = join(below, entry.name);
      found.push(name);
      if (entry.isDirectory() && depth < MAX_DEPTH) look(name, depth + 1);
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
