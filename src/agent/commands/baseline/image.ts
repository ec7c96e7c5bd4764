import { createHash } from 'node:crypto';
import { closeSync, constants, openSync, realpathSync, type Stats, statSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { readOptional } from '../../../core/base/bounded-file.ts';
import { AgentError, errnoOf } from '../../../core/base/errors.ts';
import { shellWord } from '../../../core/base/text.ts';
import { UsageError } from '../../../core/command-line/command.ts';
import { deviceNumber } from '../../host/device-number.ts';
import { statsOf } from '../input-files.ts';

/** The file, or the disk, that a tree was mounted or unpacked from. */
export interface Image {
  readonly path: string;
  /** Whether the tree is mounted from it. False if that cannot be seen: it was unpacked, or lies under encryption or RAID. */
  readonly isMounted: boolean;
  /** As it was before the scan. */
  readonly stats: Stats;
}

/** An image as a report names it. */
export interface ImageDigest {
  /** Without the folder, which says nothing elsewhere. */
  readonly file: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly isMounted: boolean;
}

/**
 * Reads `--image`. Call this before the scan, so that a change during it is detected.
 *
 * @throws {UsageError} if it is not a readable file or disk, or if the tree is mounted from another file
 */
export function imageOption(given: string, root: string, sys = '/sys'): Image {
  if (root === '/') throw new UsageError('--image needs --root: the folder where the image is mounted or unpacked');
  const path = resolve(given);
  const stats = statsOf(path);
  if (stats === undefined) throw new UsageError(`--image: ${path} does not exist`);
  if (!stats.isFile() && !stats.isBlockDevice()) throw new UsageError(`--image: ${path} is not a file or a disk`);
  try {
    closeSync(openSync(path, constants.O_RDONLY | constants.O_NONBLOCK));
  } catch (error) {
    throw new UsageError(`--image: ${path} cannot be read: ${errnoOf(error) ?? 'unknown'}; run the command as root`);
  }
  return { path, isMounted: isMountedFrom(stats, path, root, sys), stats };
}

function isMountedFrom(image: Stats, path: string, root: string, sys: string): boolean {
  for (const device of devicesOf(statSync(root).dev, sys)) {
    if (image.isBlockDevice() && deviceNumber(BigInt(image.rdev)) === device.number) return true;
    const backing = device.loopFile && statSync(device.loopFile, { throwIfNoEntry: false });
    if (!backing) continue;
    if (backing.dev === image.dev && backing.ino === image.ino) return true;
    throw new UsageError(`--image: ${root} is mounted from ${device.loopFile}, not from ${path}`);
  }
  return false;
}

interface BlockDevice {
  /** `major:minor` */
  readonly number: string;
  /** What a loop device reads from; see loop(4). */
  readonly loopFile: string | undefined;
}

/** The device of a file system, and the disk that it is a partition of. Empty if it has none, as an overlay. */
function devicesOf(device: number, sys: string): BlockDevice[] {
  const own = folderOf(join(sys, 'dev/block', deviceNumber(BigInt(device))));
  return [own, own && join(own, '..')].flatMap((folder) => {
    const number = folder && lineIn(join(folder, 'dev'));
    return folder && number ? [{ number, loopFile: lineIn(join(folder, 'loop/backing_file')) }] : [];
  });
}

function folderOf(link: string): string | undefined {
  try {
    return realpathSync(link);
  } catch {
    return undefined;
  }
}

/** A path may have any length that the kernel allows. */
const lineIn = (path: string): string | undefined => readOptional(path, 8_192)?.replace(/\n$/, '');

/** Read in parts of this size, in bytes. */
const CHUNK = 1024 * 1024;

/**
 * The SHA-256 of all bytes of an image.
 *
 * @throws AgentError SOURCE_UNREADABLE if it cannot be read to its end, or was written to since `imageOption`; the reason of
 *   the signal
 */
export async function imageDigest({ path, isMounted, stats }: Image, signal: AbortSignal): Promise<ImageDigest> {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(CHUNK);
  let sizeBytes = 0;
  let file: FileHandle | undefined;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    for (let length = -1; length !== 0; sizeBytes += length) {
      signal.throwIfAborted();
      ({ bytesRead: length } = await file.read(buffer, 0, CHUNK, null));
      hash.update(buffer.subarray(0, length));
    }
    if (isChanged(stats, await file.stat())) throw changed(path);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof AgentError) throw error;
    const problem = `the digest of ${path} cannot be computed: ${errnoOf(error) ?? 'unknown'} after ${sizeBytes} bytes`;
    const remedy = `Check that the image can be read to its end: cat ${shellWord(path)} >/dev/null`;
    throw new AgentError('SOURCE_UNREADABLE', problem, remedy, { cause: error });
  } finally {
    await file?.close();
  }
  return { file: basename(path), sizeBytes, sha256: hash.digest('hex'), isMounted };
}

/** A disk has no such times. */
const isChanged = (before: Stats, after: Stats): boolean =>
  before.ino !== after.ino || (before.isFile() && (before.size !== after.size || before.mtimeMs !== after.mtimeMs));

const changed = (path: string) =>
  new AgentError(
    'SOURCE_UNREADABLE',
    `the digest of ${path} cannot be computed: the file was written to during the scan`,
    'Mount the image so that nothing can write to it: mount -o loop,ro IMAGE FOLDER; then run the command again.',
  );
