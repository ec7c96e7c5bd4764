import type { Look, Unreadable } from '../../host/host-files.ts';
import { MISSING } from '../../host/host-files.ts';
import type { System } from '../system.ts';

/** A mounted file system, or one that fstab says will be. */
export interface Mount {
  readonly point: string;
  readonly type: string;
  /** What is mounted: `/dev/sda1`, `tmpfs`, `server:/export`. */
  readonly device: string;
  readonly options: ReadonlySet<string>;
  readonly where: string;
}

const MOST_BYTES = 4 * 1024 * 1024;

/** Octal escapes of blanks and the like, see proc_pid_mountinfo(5) and fstab(5). */
const unescaped = (text: string) =>
  text.replace(/\\([0-3][0-7]{2})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 8)));

/**
 * What is mounted where the host's first process is: the agent's own view may be a private one, with a /tmp of its own and
 * all else read-only. Only where that one may not be looked at, its own.
 */
export function readMounts(system: System): Look<readonly Mount[]> {
  if (!system.runs) return MISSING;
  const first = mountsIn(system, '/proc/1/mountinfo');
  return 'found' in first || system.view === 'mounted-host' ? first : mountsIn(system, '/proc/self/mountinfo');
}

/** Of mounts on one another the last one, which is the one that is seen. */
function mountsIn(system: System, path: string): Look<readonly Mount[]> {
  const look = system.files.text(path, MOST_BYTES);
  if (!('found' in look)) return look;
  const byPoint = new Map<string, Mount>();
  for (const line of look.found.split('\n')) {
    const mount = parseMountinfo(line, path);
    if (mount !== undefined) byPoint.set(mount.point, mount);
  }
  return { found: [...byPoint.values()] };
}

/**
 *     36 25 0:31 / /mnt/my\040share rw,noatime shared:7 - nfs4 server:/export rw,vers=4.2
 */
export function parseMountinfo(line: string, where: string): Mount | undefined {
  const [before = '', behind] = line.split(' - ', 2);
  const [, , , , point, own = ''] = before.split(' ');
  if (behind === undefined || point === undefined) return undefined;
  const [type = '', device = '', shared = ''] = behind.split(' ');
  const options = new Set([...shared.split(','), ...own.split(',')]);
  // The mount's own `rw` says nothing where the file system is read-only.
  if (options.has('ro')) options.delete('rw');
  return { point: unescaped(point), type, device: unescaped(device), options, where };
}

/** What is to be mounted at boot, see fstab(5). */
export function readFstab(system: System): Look<readonly Mount[]> {
  const look = system.files.text('/etc/fstab');
  if (!('found' in look)) return look;
  const mounts: Mount[] = [];
  for (const [index, line] of look.found.split('\n').entries()) {
    const [device = '', point, type = '', options = ''] = line.trim().split(/\s+/);
    if (point === undefined || device.startsWith('#')) continue;
    const where = `/etc/fstab:${index + 1}`;
    mounts.push({
      point: unescaped(point),
      type,
      device: unescaped(device),
      options: new Set(options.split(',')),
      where,
    });
  }
  return { found: mounts };
}

/** Where what is asked for is answered by another machine, or by some program: for ever, when that doesn't answer. */
const REMOTE =
  /^(?:nfs4?|cifs|smb3|smbfs|afs|ceph|coda|lustre|beegfs|orangefs|pvfs2|gfs2|ocfs2|9p|autofs|fuse|fuse\..*)$/;

export const isRemote = ({ type }: Mount): boolean => REMOTE.test(type);

/**
 * Whether it is a disk that can be taken out: the kernel says so, or the place and the name that it is given.
 *
 * @returns `Unreadable` when nobody can say
 */
export function isRemovable({ device, point }: Mount, { files }: System): boolean | Unreadable {
  if (/^\/dev\/(?:cdrom|dvd|sr\d|fd\d|floppy)/.test(device) || /^\/(?:media|cdrom|floppy)(?:\/|$)/.test(point))
    return true;
  const disk = /^\/dev\/(sd[a-z]+|mmcblk\d+)/.exec(device)?.[1];
  if (disk === undefined) return false;
  const flag = files.text(`/sys/block/${disk}/removable`, 16);
  if ('unreadable' in flag) return flag;
  return 'found' in flag && flag.found.trim() === '1';
}
