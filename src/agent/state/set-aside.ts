import { lstatSync, renameSync, type Stats, statSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '../../core/base/errors.ts';
import type { Logger } from '../../core/base/log.ts';
import { isOwnFile } from '../../core/base/plain-file.ts';
import { maxStateBytes, STATE_FILES, STATE_FOLDERS } from './read-state.ts';

/**
 * Renames entries of the state directory that have the name of a state file and can't be one: links, pipes, devices, folders,
 * files that are too large or that another user can write to. The agent then starts without that file, and can write
 * it again. An entry that can't be renamed stays; it is never read.
 */
export function setAsideUnusable(directory: string, log: Logger): void {
  const names = Object.keys(STATE_FILES);
  for (const name of names) {
    setAside(join(directory, name), (path) => fileFault(path, maxStateBytes(name)), log);
    setAside(join(directory, `${name}.new`), (path) => fileFault(path, Number.POSITIVE_INFINITY), log);
  }
  for (const name of STATE_FOLDERS) setAside(join(directory, name), folderFault, log);
}

function setAside(path: string, faultOf: (path: string) => string | undefined, log: Logger): void {
  try {
    const fault = faultOf(path);
    if (fault === undefined) return;
    const aside = `${path}.set-aside`;
    renameSync(path, aside);
    log.warn({ file: path, reason: fault, now: aside }, 'Set aside an unusable file of the state directory.');
  } catch (error) {
    const reason = messageOf(error);
    log.warn({ file: path, reason }, 'Could not check or set aside a file of the state directory; not using it.');
  }
}

function fileFault(path: string, maxBytes: number): string | undefined {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return undefined;
  if (!stats.isFile()) return `it is ${kindOf(stats)}`;
  if (stats.nlink > 1) return 'it has more than one hard link';
  if (!isOwnFile(path, stats)) return 'another user can write to it';
  return stats.size > maxBytes ? `it is larger than ${maxBytes} bytes` : undefined;
}

/** A link to a folder is permitted: the queues can be on another disk. */
function folderFault(path: string): string | undefined {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  const target = stats?.isSymbolicLink() ? statSync(path, { throwIfNoEntry: false }) : stats;
  return stats === undefined || target?.isDirectory() ? undefined : `it is ${kindOf(stats)}`;
}

function kindOf(stats: Stats): string {
  if (stats.isSymbolicLink()) return 'a symbolic link';
  if (stats.isDirectory()) return 'a folder';
  if (stats.isFIFO()) return 'a named pipe';
  if (stats.isSocket()) return 'a socket';
  return stats.isFile() ? 'a file' : 'a device';
}
