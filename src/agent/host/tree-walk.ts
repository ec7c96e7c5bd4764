import { closeSync, constants, type Dir, fstatSync, lstatSync, openSync, type Stats } from 'node:fs';
import { posix } from 'node:path';
import type { Clock } from '../../core/base/clock.ts';
import { type Duration, milliseconds, seconds } from '../../core/base/duration.ts';
import { messageOf } from '../../core/base/errors.ts';
import { Turn } from '../../core/base/waiting.ts';
import { isLossy, openEntries, placeIn, textOf } from './entry-names.ts';
import type { HostFiles, Look } from './host-files.ts';
import { isRemote, type Mount } from './mounts.ts';

/** Sees each entry below the roots once; the roots themselves are not entries. */
export type Visit = (
  stats: Stats,
  /** Bytes of it that are not UTF-8 are U+FFFD. */
  path: string,
  /** The entry in this process's view. Valid during the call only. */
  place: Buffer,
) => void;

/** Result of a walk. */
export interface Walked {
  readonly entries: number;
  readonly tookMs: number;
  /** Why the walk is incomplete. */
  readonly incomplete?: string;
  /** Whether a permission is missing. */
  readonly denied: boolean;
}

/** How a walk reads, and its pacing. */
export interface WalkAccess {
  readonly files: Pick<HostFiles, 'place' | 'remote'>;
  readonly clock: Clock;
  /** Ends the walk, which then rejects with the signal's reason. */
  readonly signal: AbortSignal;
  /** Called before each folder is read, which may block forever. */
  readonly at: (where: string) => void;
}

/** The part of a mount that a walk needs. */
export interface WalkedMount extends Pick<Mount, 'point' | 'type'> {
  readonly isLocalOverlay?: boolean;
}

/** File systems on disks and flash. All others but those on top of others are virtual, in memory, or on another machine. */
const LOCAL =
  /^(?:ext[234]|xfs|btrfs|f2fs|ubifs|jffs2|yaffs2?|bcachefs|zfs|jfs|reiserfs|nilfs2|minix|hfs|hfsplus|vfat|msdos|exfat|ntfs3?|erofs|squashfs|cramfs|romfs|iso9660|udf)$/;
/** File systems that show the files of others. */
const STACKED = /^(?:overlay|aufs|ecryptfs)$/;
/** Where engines mount the root of a container, also in folders of their own. */
const OF_CONTAINER = /\/(?:merged|rootfs)$/;
/** Folders not walked: virtual file systems, and layers of containers and images, which have other owners and modes in use. */
const EXCLUDED = new Set([
  '/proc',
  '/sys',
  '/dev',
  '/run',
  '/snap',
  '/var/lib/docker',
  '/var/lib/containerd',
  '/var/lib/containers',
  '/var/lib/lxc',
]);

const MAX_ENTRIES = 2_000_000;
const LONGEST_WALK = seconds(300);
const MAX_DEPTH = 200;
const MAX_FOLDERS = 100_000;
/** Pause after each turn of 5 ms: a walk uses at most half a core, however fast the disk is. */
const REST = milliseconds(5);

const OPEN_FOLDER = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** A folder that is being walked. It stays open until all its folders have been walked. */
interface Frame {
  readonly file: number;
  readonly path: string;
  /** Names of the folders in it that are still to be walked, as `openEntries` reads them. */
  readonly folders: string[];
}

interface WalkOptions {
  /** Folders to begin at. If a device has several mount points, only the first is walked. */
  readonly roots: readonly string[];
  /** All mounts, including those that are not walked: they distinguish a btrfs subvolume from another file system. */
  readonly mounts: Look<readonly WalkedMount[]>;
  readonly visit: Visit;
  /** Maximum of folders walked in one folder; the rest is skipped. */
  readonly mostFolders?: number;
}

/**
 * Walks file systems once: at most two million entries and five minutes, with at most half of a core. It never follows a
 * link and never leaves a device: each folder is opened relative to its parent's descriptor (by /proc/self/fd), so that a
 * folder replaced by a link during the walk is not followed.
 */
export const walkTree = (access: WalkAccess, options: WalkOptions): Promise<Walked> => new Walk(access, options).run();

class Walk {
  readonly #access: WalkAccess;
  readonly #roots: readonly string[];
  readonly #mounts: WalkOptions['mounts'];
  readonly #visit: Visit;
  readonly #mostFolders: number;
  readonly #turn: Turn;
  readonly #began: Duration;
  readonly #devices = new Set<number>();
  readonly #mountPoints: ReadonlySet<string>;
  #entries = 0;
  #incomplete: string | undefined;
  #denied = false;

  constructor(access: WalkAccess, { roots, mounts, visit, mostFolders = MAX_FOLDERS }: WalkOptions) {
    this.#access = access;
    this.#roots = roots;
    this.#mounts = mounts;
    this.#visit = visit;
    this.#mostFolders = mostFolders;
    this.#turn = new Turn(access.clock);
    this.#began = access.clock.monotonic();
    this.#mountPoints = new Set('found' in mounts ? mounts.found.map(({ point }) => point) : []);
  }

  async run(): Promise<Walked> {
    const mounts = this.#mounts;
    if ('unreadable' in mounts) {
      this.#incomplete ??= mounts.unreadable;
      this.#denied ||= mounts.denied;
    }
    const leftOut = 'found' in mounts ? mounts.found.find(isLeftOut) : undefined;
    if (leftOut !== undefined)
      this.#incomplete ??= `${leftOut.point} is not walked: it is unknown whether the files below this ${leftOut.type} are local`;
    for (const root of this.#roots) await this.#walkFrom(root);
    return {
      entries: this.#entries,
      tookMs: this.#access.clock.monotonic() - this.#began,
      denied: this.#denied,
      ...(this.#incomplete === undefined ? {} : { incomplete: this.#incomplete }),
    };
  }

  async #walkFrom(root: string): Promise<void> {
    const file = this.#open(() => this.#access.files.place(root), root);
    if (file === undefined) return;
    const device = fstatSync(file).dev;
    const frames: Frame[] = [];
    try {
      frames.push({ file, path: root, folders: [] });
      if (this.#mountPoints.has(root)) {
        if (this.#devices.has(device)) return; // mounted in two places
        this.#devices.add(device);
      }
      await this.#look(frames[0] as Frame);
      for (let frame = frames.at(-1); frame !== undefined; frame = frames.at(-1)) {
        const name = frame.folders.pop();
        if (name === undefined || this.#isOver()) {
          closeSync(frame.file);
          frames.pop();
          continue;
        }
        const path = posix.join(frame.path, textOf(name));
        const parent = frame.file;
        const below = this.#open(() => placeIn(parent, name), path);
        if (below === undefined) continue;
        const next = { file: below, path, folders: [] };
        frames.push(next);
        if (fstatSync(below).dev !== device && !this.#isSubvolume(path)) continue;
        if (frames.length > MAX_DEPTH) this.#incomplete ??= `folders more than ${MAX_DEPTH} deep were left out`;
        else await this.#look(next);
      }
    } finally {
      for (const frame of frames) closeSync(frame.file);
    }
  }

  #open(place: () => string | Buffer, path: string): number | undefined {
    try {
      return openSync(place(), OPEN_FOLDER);
    } catch (error) {
      this.#miss(error, path);
      return undefined;
    }
  }

  /** Records what could not be read, unless it was removed or replaced meanwhile, and its name is certain. */
  #miss(error: unknown, path: string): void {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(code) && !isLossy(path)) return;
    const isDenied = code === 'EACCES' || code === 'EPERM';
    this.#denied ||= isDenied;
    this.#incomplete ??= isDenied ? `no permission to read ${path}` : `${path} can't be read: ${code}`;
  }

  /**
   * Whether a folder on another device belongs to the walked file system: a btrfs subvolume, which any user can create.
   * Mounts are walked on their own, or not at all; what was mounted after the list was read is skipped.
   */
  #isSubvolume(path: string): boolean {
    if (this.#mountPoints.has(path)) return false;
    const mounts = this.#mounts;
    const around = 'found' in mounts ? mounts.found.filter(({ point }) => isBelow(path, point)) : [];
    const nearest = around.reduce<WalkedMount | undefined>(
      (best, each) => (best === undefined || each.point.length > best.point.length ? each : best),
      undefined,
    );
    if (nearest !== undefined && /^(?:btrfs|bcachefs)$/.test(nearest.type)) return true;
    this.#incomplete ??= `${path} is on another file system, which is not among those that are mounted`;
    return false;
  }

  /** Visits the entries of a folder, and collects its folders. */
  async #look(frame: Frame): Promise<void> {
    this.#access.at(frame.path);
    let folder: Dir;
    try {
      folder = openEntries(frame.file);
    } catch (error) {
      this.#incomplete ??= `${frame.path} can't be read: ${messageOf(error)}`; // no /proc, or out of files
      return;
    }
    try {
      for (let entry = folder.readSync(); entry !== null && !this.#isOver(); entry = folder.readSync()) {
        this.#entries += 1;
        const path = posix.join(frame.path, textOf(entry.name));
        const place = placeIn(frame.file, entry.name);
        const stats = this.#statsOf(place, path);
        if (stats !== undefined) {
          this.#visit(stats, path, place);
          if (stats.isDirectory() && !EXCLUDED.has(path)) {
            if (frame.folders.length < this.#mostFolders) frame.folders.push(entry.name);
            else this.#incomplete ??= `${frame.path} holds more than ${this.#mostFolders} folders`;
          }
        }
        if (this.#turn.isOver()) await this.#rest();
      }
    } finally {
      folder.closeSync();
    }
  }

  /** Remote file systems are not read: they may never answer. */
  #statsOf(place: Buffer, path: string): Stats | undefined {
    if (this.#access.files.remote.includes(path)) {
      if (isLossy(path)) this.#incomplete ??= `${path} may be on a network file system`; // or another name has the same text
      return undefined;
    }
    try {
      return lstatSync(place, { throwIfNoEntry: false });
    } catch (error) {
      this.#miss(error, path);
      return undefined;
    }
  }

  async #rest(): Promise<void> {
    await this.#access.clock.sleep(REST, this.#access.signal);
    this.#access.signal.throwIfAborted();
    await this.#turn.next();
  }

  #isOver(): boolean {
    if (this.#entries >= MAX_ENTRIES) this.#incomplete ??= `stopped after ${MAX_ENTRIES} entries`;
    else if (this.#access.clock.monotonic() - this.#began > LONGEST_WALK)
      this.#incomplete ??= `stopped after ${LONGEST_WALK / 1_000} s`;
    else return false;
    return true;
  }
}

const isBelow = (path: string, folder: string) => folder === '/' || path.startsWith(`${folder}/`);

/** Where to walk all local file systems: of a tree that is not running, all. Otherwise the root, of any type, and all disks. */
export function localRoots(mounts: WalkOptions['mounts']): readonly string[] {
  if (!('found' in mounts)) return ['/'];
  return mounts.found
    .filter((mount) => mount.point === '/' || (isLocal(mount) && !isRemote(mount)))
    .filter((mount) => !isExcluded(mount))
    .map(({ point }) => point)
    .sort();
}

const isLocal = ({ type, isLocalOverlay = false }: WalkedMount): boolean => LOCAL.test(type) || isLocalOverlay;

const isExcluded = ({ point, type }: WalkedMount): boolean =>
  [...EXCLUDED].some((path) => point === path || point.startsWith(`${path}/`)) ||
  (STACKED.test(type) && OF_CONTAINER.test(point));

/** Whether files on this machine's disks may be missed, which only this mount shows under these names. */
const isLeftOut = (mount: WalkedMount): boolean =>
  STACKED.test(mount.type) && mount.point !== '/' && !isLocal(mount) && !isExcluded(mount);
