import type { Look, Unreadable } from '../../host/host-files.ts';
import { MISSING } from '../../host/host-files.ts';
import { isLocalOverlay, parseFstab, parseMounts } from '../../host/mounts.ts';
import type { Access } from '../access.ts';

/** The part of `Access` that is needed here. */
type Needs = Pick<Access, 'files' | 'view' | 'runs'>;

/** A mounted file system, or one that fstab lists. */
export interface Mount {
  readonly point: string;
  readonly type: string;
  /** The source: `/dev/sda1`, `tmpfs`, `server:/export`. */
  readonly device: string;
  readonly options: ReadonlySet<string>;
  readonly where: string;
  /** Whether all layers of a mounted overlay are on local file systems; see mounts.ts. */
  readonly isLocalOverlay?: boolean;
}

const MAX_BYTES = 4 * 1024 * 1024;
/** Mounts of the first process. */
const FIRST = '/proc/1/mountinfo';

/**
 * The mounts in the namespace of the host's PID 1: the agent may have a private mount namespace, with its own /tmp and all
 * else read-only. The agent's own mounts are the fallback if those of PID 1 cannot be read.
 */
export function readMounts(access: Needs): Look<readonly Mount[]> {
  if (!access.runs) return MISSING;
  const first = mountsIn(access, FIRST);
  return 'found' in first || access.view === 'mounted-host' ? first : mountsIn(access, '/proc/self/mountinfo');
}

/** Returns only the last one of several mounts on one path: it hides the others. */
function mountsIn(access: Needs, path: string): Look<readonly Mount[]> {
  const look = access.files.text(path, MAX_BYTES);
  if (!('found' in look)) return look;
  const byPoint = new Map<string, Mount>();
  const mounts = parseMounts(look.found);
  for (const mount of mounts) {
    const { point, type, source, ownOptions, options } = mount;
    // Only the first process's view shows whether its layers are local.
    const overlay = type === 'overlay' ? { isLocalOverlay: path === FIRST && isLocalOverlay(mount, mounts) } : {};
    byPoint.set(point, { point, type, device: source, options: inForce(ownOptions, options), where: path, ...overlay });
  }
  return { found: [...byPoint.values()] };
}

/** @returns options of the mount and of its file system; the mount's own `rw` has no effect on a read-only file system */
function inForce(own: string, shared: string): ReadonlySet<string> {
  const options = new Set([...shared.split(','), ...own.split(',')]);
  if (options.has('ro')) options.delete('rw');
  return options;
}

/** The mounts of fstab(5), made at boot. */
export function readFstab(access: Needs): Look<readonly Mount[]> {
  const look = access.files.text('/etc/fstab');
  if (!('found' in look)) return look;
  const mounts = parseFstab(look.found).map(({ line, source, point, type, options }) => ({
    point,
    type,
    device: source,
    options: expanded(options),
    where: `/etc/fstab:${line}`,
  }));
  return { found: mounts };
}

const OF_USERS = ['noexec', 'nosuid', 'nodev'];
const OF_OWNERS = ['nosuid', 'nodev'];
/** Options that imply others, see mount(8). */
const IMPLIED = new Map(Object.entries({ user: OF_USERS, users: OF_USERS, owner: OF_OWNERS, group: OF_OWNERS }));

/** @returns the options of a line of fstab, with those that they imply; a later one takes back its opposite */
function expanded(options: string): ReadonlySet<string> {
  const set = new Set<string>();
  for (const option of options.split(',').flatMap((each) => [each, ...(IMPLIED.get(each) ?? [])])) {
    set.delete(option.startsWith('no') ? option.slice(2) : `no${option}`);
    set.add(option);
  }
  return set;
}

/**
 * Whether it is a removable disk: by the kernel's flag, or by its mount point and device name.
 *
 * @returns `Unreadable` if it cannot be detected
 */
export function isRemovable({ device, point }: Mount, { files }: Pick<Access, 'files'>): boolean | Unreadable {
  if (/^\/dev\/(?:cdrom|dvd|sr\d|fd\d|floppy)/.test(device) || /^\/(?:media|cdrom|floppy)(?:\/|$)/.test(point))
    return true;
  const disk = /^\/dev\/(sd[a-z]+|mmcblk\d+)/.exec(device)?.[1];
  if (disk === undefined) return false;
  const flag = files.text(`/sys/block/${disk}/removable`, 16);
  if ('unreadable' in flag) return flag;
  return 'found' in flag && flag.found.trim() === '1';
}
