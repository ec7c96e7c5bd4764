/**
 * One line of /proc/PID/mountinfo, see proc_pid_mountinfo(5):
 *
 *     36 25 0:31 / /mnt/my\040share rw,noatime shared:7 - nfs4 server:/export rw,vers=4.2
 */
export interface Mount {
  /** The same that /proc/PID/fdinfo calls `mnt_id`. Reused once nothing refers to the mount any more. */
  readonly id: number;
  /** Major and minor number of the file system's device: `0:31`. */
  readonly device: string;
  readonly point: string;
  readonly type: string;
  /** What is mounted: `/dev/sda1`, `tmpfs`, `server:/export`. */
  readonly source: string;
  /** Of this mount, separated by commas. */
  readonly ownOptions: string;
  /** Of the file system, separated by commas. */
  readonly options: string;
}

/** The mount with this id in the text of a mountinfo file; `undefined` when no such line is there. */
export function mountWithId(mountinfo: string, id: number): Mount | undefined {
  const start = mountinfo.startsWith(`${id} `) ? 0 : mountinfo.indexOf(`\n${id} `) + 1;
  if (start === 0 && !mountinfo.startsWith(`${id} `)) return undefined;
  const end = mountinfo.indexOf('\n', start);
  // A line without its end was cut off: what it lacks could be what matters.
  return end === -1 ? undefined : parseMount(mountinfo.slice(start, end));
}

/** All mounts in the text of a mountinfo file. Lines that can't be understood are passed over. */
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

/** Blanks and the like in mountinfo, /proc/mounts and fstab(5) are octal: `\\040`. The kernel escapes single bytes only. */
const unescapeOctal = (text: string): string =>
  text.replace(/\\([0-3][0-7]{2})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 8)));

/** A line of fstab(5): what is to be mounted at boot. */
export interface FstabLine {
  /** Counted from 1. */
  readonly line: number;
  readonly source: string;
  readonly point: string;
  readonly type: string;
  /** Separated by commas. */
  readonly options: string;
}

/** All lines of an fstab(5) file that name a mount. */
export function parseFstab(fstab: string): FstabLine[] {
  return fstab.split('\n').flatMap((text, index) => {
    const [source = '', point, type = '', options = ''] = text.trim().split(/\s+/);
    if (point === undefined || source.startsWith('#')) return [];
    return { line: index + 1, source: unescapeOctal(source), point: unescapeOctal(point), type, options };
  });
}

/**
 * What is mounted on a folder, from /proc/mounts: `/dev/sda1 / ext4 rw,relatime 0 0`. Of several mounts on top of each
 * other the last one is in use. See proc_mounts(5).
 */
export function mountedOn(folder: string, mounts: string): string | undefined {
  const source = mounts
    .split('\n')
    .map((line) => line.split(' '))
    .findLast(([, target]) => target !== undefined && unescapeOctal(target) === folder)?.[0];
  return source === undefined ? undefined : unescapeOctal(source);
}

/**
 * File systems that this machine's kernel answers for by itself. Not among them: those that ask another machine (NFS,
 * CIFS, 9p, …), a program (FUSE, `fuseblk`, autofs) or a hypervisor (virtiofs), any of which may never answer.
 */
const LOCAL: ReadonlySet<string> = new Set(
  (
    'ext2 ext3 ext4 xfs btrfs bcachefs f2fs nilfs2 jfs reiserfs zfs ubifs jffs2 yaffs yaffs2 minix ' +
    'squashfs erofs cramfs romfs iso9660 udf vfat msdos exfat ntfs3 hfs hfsplus tmpfs ramfs rootfs devtmpfs'
  ).split(' '),
);

/**
 * File systems for which another machine answers, a program or a hypervisor: for ever, when that doesn't. All others are
 * asked where they must be, such as those in memory; see LOCAL for what may always be.
 */
const REMOTE =
  /^(?:nfs4?|cifs|smb3|smbfs|afs|ceph|coda|lustre|beegfs|orangefs|pvfs2|gfs2|ocfs2|9p|virtiofs|autofs|fuse|fuseblk|fuse\..*)$/;

/** @param mount by its type, as mountinfo names it */
export const isRemote = ({ type }: { readonly type: string }): boolean => REMOTE.test(type);

/**
 * Whether files of a mount can be looked at without asking anything but this machine's kernel.
 *
 * An overlay is as local as its layers, which it names as whoever mounted it saw them. So it counts only when the first
 * process sees it too: then root has mounted it, and not a user in namespaces of his own, over layers that a program of
 * his answers for. One of root's doesn't count either when a layer's path leads to a mount that isn't local.
 *
 * @param first mountinfo of the first process; `undefined` when it can't be read
 */
export function isLocal({ type, device, options }: Mount, first: string | undefined): boolean {
  if (type !== 'overlay') return LOCAL.has(type);
  if (first === undefined) return false;
  const mounts = parseMounts(first);
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
