/**
 * One line of /proc/PID/mountinfo, see proc_pid_mountinfo(5):
 *
 *     36 25 0:31 / /mnt/my\040share rw,noatime shared:7 - nfs4 server:/export rw,vers=4.2
 */
export interface Mount {
  /** The id that /proc/PID/fdinfo calls `mnt_id`. Reused when nothing refers to the mount any more. */
  readonly id: number;
  /** Major and minor number of the file system's device: `0:31`. */
  readonly device: string;
  readonly point: string;
  readonly type: string;
  /** The source: `/dev/sda1`, `tmpfs`, `server:/export`. */
  readonly source: string;
  /** Mount options, separated by commas. */
  readonly ownOptions: string;
  /** Options of the file system, separated by commas. */
  readonly options: string;
}

/** The mount with this id in the text of a mountinfo file; `undefined` when there is none. */
export function mountWithId(mountinfo: string, id: number): Mount | undefined {
  const start = mountinfo.startsWith(`${id} `) ? 0 : mountinfo.indexOf(`\n${id} `) + 1;
  if (start === 0 && !mountinfo.startsWith(`${id} `)) return undefined;
  const end = mountinfo.indexOf('\n', start);
  // A line without its end was cut off, and the missing part may matter.
  return end === -1 ? undefined : parseMount(mountinfo.slice(start, end));
}

/** All mounts in the text of a mountinfo file. Malformed lines are skipped. */
export const parseMounts = (mountinfo: string): Mount[] =>
  mountinfo.split('\n').flatMap((line) => parseMount(line) ?? []);

function parseMount(line: string): Mount | undefined {
  const separator = line.indexOf(' - ');
  if (separator === -1) return undefined;
  const [id = '', , device = '', , point = '', ownOptions = ''] = line.slice(0, separator).split(' ');
  const [type = '', source = '', options = ''] = line.slice(separator + 3).split(' ');
  if (!/^\d{1,10}$/.test(id) || !/^\d{1,10}:\d{1,10}$/.test(device) || !point.startsWith('/') || type === '')
    return undefined;
  const unescaped = { point: unescapeOctal(point), source: unescapeOctal(source) };
  return { id: Number(id), device, ...unescaped, type, ownOptions, options };
}

/** mountinfo, /proc/mounts and fstab(5) write spaces and similar characters in octal, `\\040`, one byte each. */
const unescapeOctal = (text: string): string =>
  text.replace(/\\([0-3][0-7]{2})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 8)));

/** A line of fstab(5): a file system to mount at boot. */
export interface FstabLine {
  /** Line number, from 1. */
  readonly line: number;
  readonly source: string;
  readonly point: string;
  readonly type: string;
  /** Separated by commas. */
  readonly options: string;
}

/** All lines of fstab(5) that name a mount. */
export function parseFstab(fstab: string): FstabLine[] {
  return fstab.split('\n').flatMap((text, index) => {
    const [source = '', point, type = '', options = ''] = text.trim().split(/\s+/);
    if (point === undefined || source.startsWith('#')) return [];
    return { line: index + 1, source: unescapeOctal(source), point: unescapeOctal(point), type, options };
  });
}

/**
 * The mount on a folder, from /proc/mounts: `/dev/sda1 / ext4 rw,relatime 0 0`. If a folder has several mounts, the
 * last one is in use. See proc_mounts(5).
 */
export function mountedOn(folder: string, mounts: string): string | undefined {
  const source = mounts
    .split('\n')
    .map((line) => line.split(' '))
    .findLast(([, target]) => target !== undefined && unescapeOctal(target) === folder)?.[0];
  return source === undefined ? undefined : unescapeOctal(source);
}

/**
 * File systems that this machine's kernel serves by itself. Not those that ask another machine (NFS, CIFS, 9p, …), a
 * program (FUSE, `fuseblk`, autofs) or a hypervisor (virtiofs), which may never answer.
 */
const LOCAL: ReadonlySet<string> = new Set(
  (
    'ext2 ext3 ext4 xfs btrfs bcachefs f2fs nilfs2 jfs reiserfs zfs ubifs jffs2 yaffs yaffs2 minix ' +
    'squashfs erofs cramfs romfs iso9660 udf vfat msdos exfat ntfs3 hfs hfsplus tmpfs ramfs rootfs devtmpfs'
  ).split(' '),
);

/**
 * File systems served by another machine, a program or a hypervisor: access blocks forever when the server does not
 * answer. For those in neither list, such as file systems in memory, access is allowed where it is needed; see LOCAL for
 * those that are always safe.
 */
const REMOTE =
  /^(?:nfs4?|cifs|smb3|smbfs|afs|ceph|coda|lustre|beegfs|orangefs|pvfs2|gfs2|ocfs2|9p|virtiofs|autofs|fuse|fuseblk|fuse\..*)$/;

/** @param mount its type is the one in mountinfo */
export const isRemote = ({ type }: { readonly type: string }): boolean => REMOTE.test(type);

/**
 * Whether files of a mount can be read without waiting for anything but this machine's kernel.
 *
 * An overlay is local if its layers are; the paths of its layers are as seen by the process that mounted it. So it counts
 * only if the first process sees it too: then root mounted it, and not a user in their own namespaces, over layers that a
 * program of that user serves. It does not count either if the path of a layer leads to a mount that is not local.
 *
 * @param first mountinfo of the first process; `undefined` when it cannot be read
 */
export function isLocal(mount: Mount, first: string | undefined): boolean {
  if (mount.type !== 'overlay') return LOCAL.has(mount.type);
  return first !== undefined && isLocalOverlay(mount, parseMounts(first));
}

/** The same of an overlay. @param mounts those of the first process */
export function isLocalOverlay({ device, options }: Mount, mounts: readonly Mount[]): boolean {
  if (!mounts.some((mount) => mount.type === 'overlay' && mount.device === device)) return false;
  const layers = layersOf(options);
  return !mounts.some(
    ({ type: other, point }) =>
      point !== '/' &&
      other !== 'overlay' &&
      !LOCAL.has(other) &&
      layers.some((layer) => layer === point || layer.startsWith(`${point}/`)),
  );
}

/** `lowerdir=/a:/b::/data,upperdir=/c,workdir=/d`, and `lowerdir+=/a` since Linux 6.7; see overlayfs.rst. */
function layersOf(options: string): string[] {
  return options.split(',').flatMap((option) => {
    const [, paths] = /^(?:(?:lower|upper)dir|(?:lower|data)dir\+)=(.*)$/.exec(option) ?? [];
    return paths === undefined ? [] : unescapeOctal(paths).split(':');
  });
}
