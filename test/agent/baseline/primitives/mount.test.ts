import { mount } from '../../../../src/agent/baseline/primitives/mount.ts';
import { RUNNING } from '../tree.ts';
import { describePrimitive, TOO_LONG } from './cases.ts';

const tmp = { of: 'target', target: '/tmp', options: ['nosuid', 'nodev'], ifNotMounted: 'skip' };
const ROOT = '21 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n';
const mounted = (line: string) => ({ ...RUNNING, 'proc/1/mountinfo': `${ROOT}${line}\n` });

describePrimitive(mount, {
  'with all options': {
    params: tmp,
    tree: mounted('22 21 0:2 / /tmp rw,nosuid,nodev - tmpfs tmpfs rw'),
    result: 'pass',
  },
  'without one of them': {
    params: tmp,
    tree: mounted('22 21 0:2 / /tmp rw,nosuid - tmpfs tmpfs rw'),
    result: 'fail',
    actual: 'without nodev',
  },
  'mounted when it is used, by its fstab': {
    params: { ...tmp, target: '/boot', options: ['nosuid'] },
    tree: {
      ...mounted('22 21 0:2 / /boot rw - autofs systemd-1 rw,direct'),
      'etc/fstab': '/dev/sda2 /boot vfat nosuid,x-systemd.automount 0 0\n',
    },
    result: 'pass',
    where: '/etc/fstab:1',
  },
  'mounted when it is used, by its fstab, without one of them': {
    params: { ...tmp, target: '/boot' },
    tree: {
      ...mounted('22 21 0:2 / /boot rw,nosuid,nodev - autofs systemd-1 rw,direct'),
      'etc/fstab': '/dev/sda2 /boot vfat nosuid,x-systemd.automount 0 0\n',
    },
    result: 'fail',
    actual: 'without nodev',
  },
  'mounted when it is used, and not by fstab': {
    params: { ...tmp, target: '/efi' },
    tree: mounted('22 21 0:2 / /efi rw - autofs systemd-1 rw,direct'),
    result: 'skip',
    reason: /mounted when it is used/,
  },
  'a removable disk that is mounted when it is used': {
    params: { of: 'removable', options: ['noexec'] },
    tree: mounted('22 21 0:2 / /media/stick rw - autofs systemd-1 rw,direct'),
    result: 'pass',
    actual: 'none',
  },
  'what was mounted over it counts': {
    params: tmp,
    tree: mounted('22 21 0:2 / /tmp rw,nosuid,nodev - tmpfs a rw\n23 22 0:3 / /tmp rw - tmpfs b rw'),
    result: 'fail',
  },
  'not mounted, where that does not matter': { params: tmp, tree: RUNNING, result: 'skip' },
  'not mounted, where it should be': {
    params: { of: 'target', target: '/tmp', ifNotMounted: 'fail' },
    tree: RUNNING,
    result: 'fail',
    actual: 'not a separate file system',
  },
  'either of two options, one of the file system itself': {
    params: { of: 'target', target: '/proc', options: ['hidepid=2|hidepid=invisible'], ifNotMounted: 'skip' },
    tree: mounted('22 21 0:2 / /proc rw - proc proc rw,hidepid=invisible'),
    result: 'pass',
  },
  'a file system that is read-only, mounted rw': {
    params: { of: 'target', target: '/', options: ['ro'], ifNotMounted: 'skip' },
    tree: { ...RUNNING, 'proc/1/mountinfo': '21 1 8:1 / / rw,relatime - squashfs /dev/sda1 ro\n' },
    result: 'pass',
  },
  'all of a type, also those that fstab will mount': {
    params: { of: 'type', types: ['nfs', 'nfs4'], options: ['nosuid'] },
    tree: { ...RUNNING, 'etc/fstab': '# x\nserver:/a /my\\040share nfs rw,nodev 0 0\n' },
    result: 'fail',
    actual: '/my share without nosuid',
    where: '/etc/fstab:2',
  },
  'none of a type': { params: { of: 'type', types: ['nfs'], options: ['nosuid'] }, tree: RUNNING, result: 'pass' },
  'a disk that the kernel says can be taken out': {
    params: { of: 'removable', options: ['noexec'] },
    tree: { ...mounted('22 21 8:17 / /data rw - vfat /dev/sdb1 rw'), 'sys/block/sdb/removable': '1\n' },
    result: 'fail',
    actual: '/data without noexec',
  },
  'a disk that fstab lets users mount, which implies the options': {
    params: { of: 'removable', options: ['nodev', 'nosuid', 'noexec'] },
    tree: { ...RUNNING, 'etc/fstab': '/dev/sr0 /media/cdrom0 udf,iso9660 user,noauto 0 0\n' },
    result: 'pass',
    actual: '1 mounted so',
  },
  'a disk that fstab lets users mount, and that takes an option back': {
    params: { of: 'removable', options: ['nodev', 'nosuid', 'noexec'] },
    tree: { ...RUNNING, 'etc/fstab': '/dev/sr0 /media/cdrom0 auto users,noauto,exec 0 0\n' },
    result: 'fail',
    actual: '/media/cdrom0 without noexec',
  },
  'a disk that fstab lets its owner mount, which leaves programs': {
    params: { of: 'removable', options: ['nodev', 'nosuid', 'noexec'] },
    tree: { ...RUNNING, 'etc/fstab': '/dev/sr0 /media/cdrom0 auto exec,owner 0 0\n' },
    result: 'fail',
    actual: '/media/cdrom0 without noexec',
  },
  'what should not be mounted, and is for root only': {
    params: { of: 'absent', target: '/sys/kernel/debug', modeMax: '0700' },
    tree: {
      ...mounted('22 21 0:7 / /sys/kernel/debug rw - debugfs debugfs rw'),
      'sys/kernel/debug': { folder: true, mode: 0o700 },
    },
    result: 'pass',
  },
  'what should not be mounted, and anyone can list': {
    params: { of: 'absent', target: '/sys/kernel/debug', modeMax: '0700' },
    tree: {
      ...mounted('22 21 0:7 / /sys/kernel/debug rw - debugfs debugfs rw'),
      'sys/kernel/debug': { folder: true, mode: 0o755 },
    },
    result: 'fail',
    actual: '0755',
    where: '/sys/kernel/debug',
  },
  'what should not be mounted, and one more bit than allowed': {
    params: { of: 'absent', target: '/sys/kernel/debug', modeMax: '0700' },
    tree: {
      ...mounted('22 21 0:7 / /sys/kernel/debug rw - debugfs debugfs rw'),
      'sys/kernel/debug': { folder: true, mode: 0o701 },
    },
    result: 'fail',
    actual: '0701',
  },
  'what should not be mounted, and is not, whatever the mode of its folder': {
    params: { of: 'absent', target: '/sys/kernel/debug', modeMax: '0700' },
    tree: { ...RUNNING, 'sys/kernel/debug': { folder: true, mode: 0o755 } },
    result: 'pass',
    actual: 'not mounted',
  },
  'what should not be mounted, and whose folder was removed': {
    params: { of: 'absent', target: '/sys/kernel/debug', modeMax: '0700' },
    tree: mounted('22 21 0:7 / /sys/kernel/debug rw - debugfs debugfs rw'),
    result: 'pass',
    actual: 'does not exist',
  },
  'a tree that does not run, by its fstab': {
    params: tmp,
    tree: { 'etc/fstab': 'tmpfs /tmp tmpfs nosuid,nodev 0 0\n' },
    result: 'pass',
    where: '/etc/fstab:1',
  },
  'a list that is no file': { params: tmp, tree: { 'etc/fstab': TOO_LONG }, result: 'err' },
});
