import { lstatSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { readPlainFile } from '../../base/plain-file.ts';
import { publishedName } from '../../config/published-object.ts';
import { readDefaults, readTwin } from '../../config/twin.ts';
import { twinDialect } from '../twin-dialect.ts';
import { type Finding, note, ok, wrong } from './finding.ts';
import { namesBelow } from './process.ts';
import type { Check } from './situation.ts';
import { existingPart } from './state-directory.ts';

const NAME = 'disk';
const MEGABYTE = 1_000_000;
/** In bytes. A whole twin has 64 KiB at most. */
const LARGEST_CONFIGURATION = 256 * 1024;
/** Files of the agent's state other than its queues and windows. */
const OTHER_FILES = 64 * 1024;
/** Of linux/magic.h: file systems whose files go with the machine's power, and one that goes with its container. */
const FLEETING: Readonly<Record<number, string>> = { 16914836: 'tmpfs', 2240043254: 'ramfs' };
const OVERLAY = 0x794c7630;

/** Whether the queues have the room that the configuration promises them, and keep it over a restart. */
export const disk: Check = {
  name: NAME,
  needs: ['state directory'],
  run({ local: { stateDirectory: directory } }) {
    const place = existingPart(directory);
    const { bavail, bsize, type, files, ffree } = statfsSync(place);
    const free = bavail * bsize;
    const needed = roomFor(cacheSizeOf(directory));
    const used = namesBelow(directory).reduce((all, name) => all + sizeOf(join(directory, name)), 0);
    if (free + used < needed) {
      const what = `${megabytes(free)} MB free at ${place}, but the queues and windows may take ${megabytes(needed - used)} MB more`;
      const remedy = `Free as much there, or ask for less: ${publishedName('maxLocalCacheSizeInBytes')} in the module twin.`;
      return [wrong(NAME, what, remedy)];
    }
    if (files > 0 && ffree === 0) {
      return [wrong(NAME, `no file can be made at ${place}: its inodes are used up`, 'Delete files there.')];
    }
    const enough = `${megabytes(free)} MB free, up to ${megabytes(needed)} MB needed`;
    return [fleeting(type, place) ?? ok(NAME, enough)];
  },
};

function fleeting(type: number, place: string): Finding | undefined {
  const memory = FLEETING[type];
  if (memory !== undefined) {
    const what = `${place} is in memory (${memory}): what waits there is lost when the machine restarts`;
    return note(NAME, what, 'Set stateDirectory to a place on a disk.');
  }
  if (type !== OVERLAY) return undefined;
  const what = `${place} is in the container's own layer: what waits there is lost with the container`;
  return note(NAME, what, `Mount a volume there.`);
}

/** In force, as far as the agent has left it on disk; else the default. */
function cacheSizeOf(directory: string): number {
  const dialect = twinDialect();
  const reading = readTwin(lastGood(directory), dialect);
  return (reading.ok ? reading : readDefaults(dialect)).settings.maxLocalCacheSizeInBytes;
}

function lastGood(directory: string): unknown {
  try {
    const text = readPlainFile(join(directory, 'last-good-configuration.json'), LARGEST_CONFIGURATION);
    return (JSON.parse(text) as { configuration?: unknown }).configuration;
  } catch {
    return undefined;
  }
}

/** Queues; beside them windows, of half as much or 1 MiB, three times that on disk, and 16 KiB (src/pipeline/README.md). */
const roomFor = (cacheSize: number): number =>
  cacheSize + 3 * Math.min(cacheSize / 2, 1024 * 1024) + 16 * 1024 + OTHER_FILES;

const megabytes = (bytes: number): string => (bytes / MEGABYTE).toFixed(bytes < 10 * MEGABYTE ? 1 : 0);

const sizeOf = (path: string): number => {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  return stats?.isFile() === true ? stats.size : 0;
};
