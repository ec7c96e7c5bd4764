import { lstatSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { publishedName } from '../../../core/contract/settings.ts';
import { LARGEST_DEFAULT_CACHE } from '../../../core/twin/limits.ts';
import { twinDialect } from '../../../core/twin/published-object.ts';
import { readDefaults, readTwin } from '../../../core/twin/twin.ts';
import { readLastGood } from '../../config/last-good.ts';
import type { LocalSettings } from '../../config/local.ts';
import { type Finding, note, ok, wrong } from './finding.ts';
import { namesBelow } from './process.ts';
import type { Check } from './situation.ts';
import { existingPart } from './state-directory.ts';

const NAME = 'disk';
const MEGABYTE = 1_000_000;
/** Files of the agent's state other than its queues and windows. */
const OTHER_FILES = 64 * 1024;
/** From linux/magic.h: file systems that lose their files at a reboot, and one that loses them with its container. */
const VOLATILE: ReadonlyMap<number, string> = new Map([
  [0x01021994, 'tmpfs'],
  [0x858458f6, 'ramfs'],
]);
const OVERLAY = 0x794c7630;

/** Whether the disk has space for the queues at their configured size, and keeps them over a reboot. */
export const disk: Check = {
  name: NAME,
  needs: ['state directory'],
  run({ local }) {
    const directory = local.stateDirectory;
    const place = existingPart(directory);
    const { bavail, bsize, type, files, ffree } = statfsSync(place);
    const free = bavail * bsize;
    const needed = spaceNeeded(cacheSizeOf(local));
    const used = namesBelow(directory).reduce((all, name) => all + sizeOf(join(directory, name)), 0);
    if (free + used < needed) {
      const problem = `${megabytes(free)} MB are free at ${place}, but the queues and windows may grow by ${megabytes(needed - used)} MB`;
      const remedy = `Free disk space there, or lower ${publishedName('maxLocalCacheSizeInBytes')} in the module twin.`;
      return [wrong(NAME, problem, remedy)];
    }
    if (files > 0 && ffree === 0) {
      return [wrong(NAME, `no file can be created at ${place}: its inodes are used up`, 'Delete files there.')];
    }
    const enough = `${megabytes(free)} MB free, up to ${megabytes(needed)} MB needed`;
    return [volatileFinding(type, place) ?? ok(NAME, enough)];
  },
};

function volatileFinding(type: number, place: string): Finding | undefined {
  const memory = VOLATILE.get(type);
  if (memory !== undefined) {
    const problem = `${place} is in memory (${memory}): queued events are lost when the machine reboots`;
    return note(NAME, problem, 'Set stateDirectory to a folder on a disk.');
  }
  if (type !== OVERLAY) return undefined;
  const problem = `${place} is in the container's writable layer: queued events are lost with the container`;
  return note(NAME, problem, `Mount a volume there.`);
}

/**
 * As the last good configuration states it, or else the default, as far as the local file allows it. A disk that has little
 * space left lowers the default of that limit further, which is the fault to be found.
 */
function cacheSizeOf({ stateDirectory, limits }: LocalSettings): number {
  const dialect = twinDialect();
  const reading = readTwin(lastGood(stateDirectory), dialect);
  const { maxLocalCacheSizeInBytes } = (reading.ok ? reading : readDefaults(dialect)).settings;
  return Math.min(maxLocalCacheSizeInBytes, limits.largestCacheInBytes ?? LARGEST_DEFAULT_CACHE);
}

function lastGood(directory: string): unknown {
  try {
    return readLastGood(directory).configuration;
  } catch {
    return undefined;
  }
}

/**
 * Queues, and windows: half of the queues' size or 1 MiB, three times that on disk, plus 16 KiB
 * (src/agent/pipeline/README.md).
 */
const spaceNeeded = (cacheSize: number): number =>
  cacheSize + 3 * Math.min(cacheSize / 2, 1024 * 1024) + 16 * 1024 + OTHER_FILES;

const megabytes = (bytes: number): string => (bytes / MEGABYTE).toFixed(bytes < 10 * MEGABYTE ? 1 : 0);

const sizeOf = (path: string): number => {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  return stats?.isFile() === true ? stats.size : 0;
};
