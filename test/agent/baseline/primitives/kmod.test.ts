import { kmod } from '../../../../src/agent/baseline/primitives/kmod.ts';
import { RUNNING } from '../tree.ts';
import { describePrimitive, TOO_LONG } from './cases.ts';

const hfs = { module: 'hfs', filesystem: 'hfs' };
const KERNEL = { ...RUNNING, 'proc/sys/kernel/osrelease': '6.12.1\n', 'proc/modules': 'ext4 1 1 - Live 0x0\n' };
const DEP = 'lib/modules/6.12.1/modules.dep';

describePrimitive(kmod, {
  'could be loaded': {
    params: hfs,
    tree: { ...KERNEL, [DEP]: 'kernel/fs/hfs/hfs.ko.xz: kernel/x.ko\n' },
    result: 'fail',
    actual: 'can be loaded',
  },
  'is loaded, whatever modprobe.d says': {
    params: { module: 'usb-storage' },
    tree: {
      ...KERNEL,
      'proc/modules': 'usb_storage 1 0 - Live 0x0\n',
      'etc/modprobe.d/a.conf': 'install usb-storage /bin/false\n',
    },
    result: 'fail',
    actual: 'loaded',
  },
  'is refused by modprobe.d': {
    params: { module: 'usb-storage' },
    tree: {
      ...KERNEL,
      [DEP]: 'kernel/drivers/usb/usb-storage.ko: \n',
      'etc/modprobe.d/a.conf': '# x\ninstall usb_storage /bin/false\n',
    },
    result: 'pass',
    where: '/etc/modprobe.d/a.conf:2',
  },
  'is only not loaded by alias': {
    params: hfs,
    tree: { ...KERNEL, [DEP]: 'kernel/fs/hfs/hfs.ko:\n', 'etc/modprobe.d/a.conf': 'blacklist hfs\n' },
    result: 'fail',
  },
  'is built in': {
    params: hfs,
    tree: { ...KERNEL, 'lib/modules/6.12.1/modules.builtin': 'kernel/fs/hfs/hfs.ko\n' },
    result: 'fail',
  },
  'is a file system of the running kernel, which loads no modules': {
    params: hfs,
    tree: { ...RUNNING, 'proc/filesystems': 'nodev\tproc\n\thfs\n' },
    result: 'fail',
    where: '/proc/filesystems',
  },
  'is a protocol of the running kernel': {
    params: { module: 'sctp', protocol: 'SCTP' },
    tree: { ...KERNEL, 'proc/1/net/protocols': 'protocol size\nSCTP 1\n' },
    result: 'fail',
  },
  'this kernel loads no modules': {
    params: hfs,
    tree: RUNNING,
    result: 'pass',
    actual: 'this kernel loads no modules',
  },
  'could be loaded by a kernel without modules.dep': {
    params: { module: 'usb-storage' },
    tree: {
      ...KERNEL,
      'lib/modules/6.12.1/kernel/drivers/usb_storage.ko.gz': '',
      'lib/modules/6.12.1/build': { link: '/' },
    },
    result: 'fail',
    actual: 'can be loaded',
  },
  'is not among the modules of a kernel without modules.dep': {
    params: hfs,
    tree: { ...KERNEL, 'lib/modules/6.12.1/ext4.ko': '' },
    result: 'pass',
    actual: 'there is no such module',
  },
  'modules of a kernel without modules.dep that can not be listed': {
    params: hfs,
    tree: { ...KERNEL, 'lib/modules/6.12.1': { link: '6.12.1' } },
    result: 'err',
  },
  'is refused by a file that another one overrides': {
    params: hfs,
    tree: {
      ...KERNEL,
      [DEP]: 'kernel/fs/hfs/hfs.ko:\n',
      'usr/lib/modprobe.d/x.conf': 'install hfs /bin/false\n',
      'etc/modprobe.d/x.conf': '',
    },
    result: 'fail',
  },
  'is refused by a line after one that loads it': {
    params: hfs,
    tree: {
      ...KERNEL,
      [DEP]: 'kernel/fs/hfs/hfs.ko:\n',
      'etc/modprobe.d/a.conf': 'install hfs /sbin/modprobe --ignore-install hfs\n',
      'etc/modprobe.d/b.conf': 'install hfs /bin/false\n',
    },
    result: 'fail',
  },
  'could be refused by a file that can not be read': {
    params: hfs,
    tree: { ...KERNEL, [DEP]: 'kernel/fs/hfs/hfs.ko:\n', 'etc/modprobe.d/a.conf': TOO_LONG },
    result: 'err',
    where: '/etc/modprobe.d',
  },
  'is refused by a file after one that can not be read, whose lines count first': {
    params: hfs,
    tree: {
      ...KERNEL,
      [DEP]: 'kernel/fs/hfs/hfs.ko:\n',
      'etc/modprobe.d/a.conf': TOO_LONG,
      'etc/modprobe.d/b.conf': 'install hfs /bin/false\n',
    },
    result: 'err',
  },
  'is refused by a file before one that can not be read': {
    params: hfs,
    tree: {
      ...KERNEL,
      [DEP]: 'kernel/fs/hfs/hfs.ko:\n',
      'etc/modprobe.d/a.conf': 'install hfs /bin/false\n',
      'etc/modprobe.d/b.conf': TOO_LONG,
    },
    result: 'pass',
    where: '/etc/modprobe.d/a.conf:1',
  },
  'there is no such module': { params: hfs, tree: { ...KERNEL, [DEP]: 'kernel/fs/ext4/ext4.ko:\n' }, result: 'pass' },
  'there is no kernel in this tree': { params: hfs, tree: {}, result: 'skip' },
  'a tree with a kernel': { params: hfs, tree: { [DEP]: 'kernel/fs/hfs/hfs.ko:\n' }, result: 'fail' },
  'a list that is too long': { params: hfs, tree: { ...KERNEL, 'proc/filesystems': TOO_LONG }, result: 'err' },
});
