import { file } from '../../../../src/agent/baseline/primitives/file.ts';
import { describePrimitive, paramsOf } from './cases.ts';

const PASSWD = 'root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n';
const NAMES = { 'etc/passwd': PASSWD, 'etc/group': 'root:x:0:\nshadow:x:42:\nann:x:1000:\n' };
const YOCTO = 'root:x:0:0:root:/home/root:/bin/sh\n';
const shadow = {
  must: 'be',
  paths: ['/etc/shadow'],
  type: 'file',
  owner: ['root'],
  group: ['root', 'shadow'],
  modeMax: '0640',
  ifMissing: 'skip',
};

describePrimitive(file, {
  'owner, group and mode as they should be': {
    params: shadow,
    tree: { ...NAMES, 'etc/shadow': { mode: 0o640, gid: 42 } },
    asRoot: true,
    result: 'pass',
    actual: 'file 0640 root:shadow',
    where: '/etc/shadow',
  },
  'a bit too many': {
    params: shadow,
    tree: { ...NAMES, 'etc/shadow': { mode: 0o644, uid: 0 } },
    asRoot: true,
    result: 'fail',
    actual: 'file 0644 root:root',
  },
  'a foreign owner, by the name that the tree gives him': {
    params: shadow,
    tree: { ...NAMES, 'etc/shadow': { mode: 0o600, uid: 1000 } },
    asRoot: true,
    result: 'fail',
    actual: 'file 0600 ann:root',
  },
  'an owner without a name': {
    params: shadow,
    tree: { ...NAMES, 'etc/shadow': { mode: 0o600, uid: 4242 } },
    asRoot: true,
    result: 'fail',
    actual: 'file 0600 4242:root',
  },
  'a folder where a file should be': {
    params: { ...shadow, owner: undefined, group: undefined },
    tree: { 'etc/shadow': { folder: true, mode: 0o600 } },
    result: 'fail',
    actual: /^dir 0600/,
  },
  'a file that is not there, where that does not matter': {
    params: shadow,
    tree: NAMES,
    result: 'skip',
    reason: '/etc/shadow does not exist',
  },
  'a file that is not there, where that is wrong': {
    params: { ...shadow, ifMissing: 'fail' },
    tree: NAMES,
    result: 'fail',
    actual: 'does not exist',
  },
  'links in a circle': {
    params: shadow,
    tree: { 'etc/shadow': { link: 'shadow-' }, 'etc/shadow-': { link: 'shadow' } },
    result: 'err',
    reason: /ELOOP/,
  },
  'each of several files, and how many are wrong': {
    params: { must: 'be', paths: ['/etc/sudoers.d/*'], modeMax: '0440', ifMissing: 'pass' },
    tree: {
      'etc/sudoers.d/a': { mode: 0o440 },
      'etc/sudoers.d/b': { mode: 0o644 },
      'etc/sudoers.d/c': { mode: 0o666 },
    },
    result: 'fail',
    actual: /^file 0644 .*\(and 1 more\)$/,
    where: '/etc/sudoers.d/b, /etc/sudoers.d/c',
  },
  'an absolute link, which stays within the root': {
    params: { must: 'be', paths: ['/etc/motd'], type: 'file', modeMax: '0600', ifMissing: 'fail' },
    tree: { 'etc/motd': { link: '/run/motd' }, 'run/motd': { mode: 0o600 } },
    asRoot: true,
    result: 'pass',
  },
  'a link that would lead out of the root, to where there is nothing within': {
    params: { must: 'be', paths: ['/etc/motd'], modeMax: '0000', ifMissing: 'pass' },
    tree: { 'etc/motd': { link: '../../../../../../../../etc/passwd' } },
    asRoot: true,
    result: 'pass',
    actual: 'does not exist',
  },
  'a link that a user has made': {
    params: { must: 'be', paths: ['/var/log/auth.log'], modeMax: '0640', ifMissing: 'pass' },
    tree: { 'var/log/auth.log': { link: '/etc/group', uid: 1000 }, 'etc/group': { mode: 0o600 } },
    asRoot: true,
    result: 'fail',
    actual: 'a link that belongs to user 1000',
  },
  'a sticky bit that is missing': {
    params: { must: 'be', paths: ['/tmp'], type: 'dir', modeMax: '1777', modeRequire: '1000', ifMissing: 'pass' },
    tree: { tmp: { folder: true, mode: 0o777 } },
    result: 'fail',
  },
  'a more lenient mode for one group': {
    params: {
      must: 'be',
      paths: ['/etc/key'],
      modeMax: '0600',
      modeMaxForGroup: { shadow: '0640' },
      ifMissing: 'fail',
    },
    tree: { ...NAMES, 'etc/key': { mode: 0o640, gid: 42 } },
    asRoot: true,
    result: 'pass',
  },
  'the home of root, wherever passwd says it is': {
    params: { must: 'be', paths: ['/root'], modeMax: '0700', ifMissing: 'pass' },
    tree: { 'etc/passwd': YOCTO, 'home/root': { folder: true, mode: 0o777 } },
    result: 'fail',
    where: '/home/root',
  },
  'a file in the home of root, wherever passwd says that is': {
    params: paramsOf('file.root-authorized-keys'),
    tree: { 'etc/passwd': YOCTO, 'home/root/.ssh/authorized_keys': 'ssh-ed25519 x' },
    result: 'fail',
    where: '/home/root/.ssh/authorized_keys',
  },
  'a file in the home of root, which is the whole tree': {
    params: paramsOf('file.root-authorized-keys'),
    tree: { 'etc/passwd': 'root:x:0:0::/:/bin/sh\n', 'root/.ssh/authorized_keys': 'ssh-ed25519 x' },
    result: 'fail',
    where: '/root/.ssh/authorized_keys',
  },
  'a file in the home of root, where nobody can say which that is': {
    params: paramsOf('file.root-authorized-keys'),
    tree: { 'etc/passwd': { link: 'passwd' } },
    result: 'err',
  },
  'set-id where it must not be': {
    params: { must: 'be', paths: ['/bin/busybox'], modeForbid: '6000', ifMissing: 'pass' },
    tree: { 'bin/busybox': { mode: 0o4755 } },
    result: 'fail',
    actual: /^file 4755/,
  },
  'one of several files that must be there': {
    params: { must: 'exist', paths: ['/var/log/messages', '/var/log/*.log'] },
    tree: { 'var/log/kern.log': '' },
    result: 'pass',
    where: '/var/log/kern.log',
  },
  'none of several files that must be there': {
    params: { must: 'exist', paths: ['/var/log/messages'] },
    tree: {},
    result: 'fail',
  },
  'a file that must not be there': {
    params: { must: 'not-exist', paths: ['/etc/ld.so.preload'] },
    tree: { 'etc/ld.so.preload': '/lib/x.so' },
    result: 'fail',
    where: '/etc/ld.so.preload',
  },
  'an empty file, where that counts as none': {
    params: { must: 'not-exist', paths: ['/root/.ssh/authorized_keys'], emptyOk: true },
    tree: { 'root/.ssh/authorized_keys': '' },
    result: 'pass',
  },
});
