import { accessSync, constants, existsSync, lstatSync, statfsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { errnoOf, messageOf } from '../../../core/base/errors.ts';
import { danglingLink, linkFault } from '../../../core/base/paths.ts';
import { counted, shellWord } from '../../../core/base/text.ts';
import { publishedName } from '../../../core/contract/settings.ts';
import { LARGEST_DEFAULT_CACHE } from '../../../core/twin/limits.ts';
import { twinDialect } from '../../../core/twin/published-object.ts';
import { readDefaults, readTwin } from '../../../core/twin/twin.ts';
import { readLastGood } from '../../config/last-good.ts';
import type { LocalSettings } from '../../config/local.ts';
import { type Finding, note, ok, wrong } from './finding.ts';
import { namesBelow, processOf, userOf } from './process.ts';
import { octal, othersCanWrite } from './secrets.ts';
import type { Check } from './situation.ts';

const STATE_DIRECTORY = 'state directory';

export const stateDirectory: Check = {
  name: STATE_DIRECTORY,
  run({ local: { stateDirectory: directory }, agent }) {
    const link = danglingLink(directory);
    if (link !== undefined) return [wrong(STATE_DIRECTORY, ...linkFault(link))];
    const existing = existingPart(directory);
    const found = statSync(existing);
    if (!found.isDirectory()) {
      return [wrong(STATE_DIRECTORY, `${existing} is not a directory`, 'Set stateDirectory to another path.')];
    }
    if (existing === directory && othersCanWrite(found)) {
      const problem = `other users can write to ${directory} (mode ${octal(found.mode)})`;
      return [wrong(STATE_DIRECTORY, problem, `Run: chmod go-w ${shellWord(directory)}`)];
    }
    try {
      accessSync(existing, constants.W_OK | constants.X_OK);
    } catch (error) {
      return [
        wrong(
          STATE_DIRECTORY,
          `${existing} is not writable: ${errnoOf(error) ?? messageOf(error)}`,
          remedyOf(error, directory),
        ),
      ];
    }
    if (existing !== directory) return [ok(STATE_DIRECTORY, `${directory} will be created`)];
    const user = agent.status === undefined ? found.uid : userOf(processOf(agent));
    const findings = [...foreignFiles(directory, user), ...exposed(directory)];
    return findings.length > 0 ? findings : [ok(STATE_DIRECTORY, `${directory} is writable, and private to the agent`)];
  },
};

/** The path itself, or its nearest parent that exists. */
export function existingPart(path: string): string {
  let existing = path;
  while (!existsSync(existing)) existing = dirname(existing);
  return existing;
}

const remedyOf = (error: unknown, directory: string): string =>
  errnoOf(error) === 'EROFS'
    ? `Mount the file system of ${directory} read-write, or set stateDirectory to a writable folder.`
    : `Make ${directory} writable for the user that the agent runs as.`;

/**
 * Files left by an agent that ran as another user, mostly root: the current agent can't write them. If no agent is
 * running, the folder's owner is assumed to be its user.
 */
function foreignFiles(directory: string, user: number | undefined): Finding[] {
  if (user === undefined || user === 0) return [];
  const foreign = files(directory).filter(({ uid }) => uid !== user);
  const [first] = foreign;
  if (first === undefined) return [];
  const problem = `${counted(foreign.length, 'file')} in ${directory} ${foreign.length === 1 ? 'does' : 'do'} not belong to user ${user}, for example ${first.path} (user ${first.uid})`;
  return [wrong(STATE_DIRECTORY, problem, `Run: chown -R ${user} ${shellWord(directory)}`)];
}

function exposed(directory: string): Finding[] {
  const open = files(directory).filter(({ mode }) => (mode & 0o077) !== 0);
  const [first] = open;
  if (first === undefined) return [];
  const problem = `other users can access ${counted(open.length, 'file')} in ${directory}, for example ${first.path} (mode ${octal(first.mode)}); queued events reveal what the device does`;
  return [note(STATE_DIRECTORY, problem, `Run: chmod -R go-rwx ${shellWord(directory)}`)];
}

const files = (directory: string) =>
  namesBelow(directory).flatMap((name) => {
    const path = join(directory, name);
    const stats = lstatSync(path, { throwIfNoEntry: false });
    if (stats === undefined || stats.isSocket()) return [];
    return [{ path, uid: stats.uid, mode: stats.isSymbolicLink() ? 0 : stats.mode }];
  });

const DISK = 'disk';
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
  name: DISK,
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
      return [wrong(DISK, problem, remedy)];
    }
    if (files > 0 && ffree === 0) {
      return [wrong(DISK, `no file can be created at ${place}: its inodes are used up`, 'Delete files there.')];
    }
    const enough = `${megabytes(free)} MB free, up to ${megabytes(needed)} MB needed`;
    return [volatileFinding(type, place) ?? ok(DISK, enough)];
  },
};

function volatileFinding(type: number, place: string): Finding | undefined {
  const memory = VOLATILE.get(type);
  if (memory !== undefined) {
    const problem = `${place} is in memory (${memory}): queued events are lost when the machine reboots`;
    return note(DISK, problem, 'Set stateDirectory to a folder on a disk.');
  }
  if (type !== OVERLAY) return undefined;
  const problem = `${place} is in the container's writable layer: queued events are lost with the container`;
  return note(DISK, problem, `Mount a volume there.`);
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
