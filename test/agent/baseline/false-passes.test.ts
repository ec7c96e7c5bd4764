import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as v from 'valibot';
import { BaselineEngine } from '../../../src/agent/baseline/engine.ts';
import type { Primitive } from '../../../src/agent/baseline/primitive.ts';
import { primitives } from '../../../src/agent/baseline/primitives/index.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import type { CheckResult, ScanOptions } from '../../../src/core/contract/baseline.ts';
import { skip } from '../../harness/require.ts';
import { type Entries, RUNNING, withTree } from './tree.ts';

/*
 * What a rule says when its source was cut, can't be read, or is faked: never that all is well. "Nothing was found" is
 * enough to pass only where all was looked at.
 */

interface Case {
  readonly primitive: string;
  readonly params: unknown;
  readonly tree: Entries;
  /** Only root can make it. */
  readonly asRoot?: boolean;
  readonly is: CheckResult;
}

/** Unreadable for every user, both as a file and as a folder. */
const UNREADABLE = (path: string): Entries => ({ [path]: { link: `/${path}` } });
const HEAD = '  sl  local_address rem_address   st\n';
const line = (port: string, state: string) =>
  `   0: 00000000:${port} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000     0        0 1 1\n`;
const LONG = 5 * 1024 * 1024;
const many = (text: string) => text.repeat(Math.ceil(LONG / text.length));
const off = { units: ['telnetd.service'], want: 'disabled', processes: ['telnetd'] };
const telnet = { check: 'notListening', protocols: ['tcp'], ports: [23], scope: 'nonLoopback' };
const ANN = { 'etc/passwd': 'ann:x:1000:1000::/home/ann:/bin/sh\n', 'etc/group': '' };
const keys = { check: 'homeFileMode', paths: ['.ssh/authorized_keys'], modeForbid: '0022', privateForbid: '0077' };
const nullok = { of: 'stack', stacks: ['su'], module: 'pam_unix', argForbid: ['nullok'] };
const retry = {
  of: 'setting',
  module: 'pam_pwquality',
  files: ['/etc/x.conf'],
  keys: ['retry'],
  want: { op: 'le', value: 3 },
  default: 1,
};
const sshd = { syntax: 'sshd', keys: ['PermitEmptyPasswords'], want: { op: 'eq', value: 'no' }, default: 'no' };
const includes = (count: number): Entries =>
  Object.fromEntries(
    Array.from({ length: count }, (_, n) => [`etc/ssh/${n}`, `Include /etc/ssh/${n + 1}\n`]).concat([
      [`etc/ssh/${count}`, 'PermitEmptyPasswords yes\n'],
    ]),
  );

const CASES: Readonly<Record<string, Case>> = {
  'net: a list of sockets that is longer than what is read': {
    primitive: 'net',
    params: { ...telnet, protocols: ['udp'], ports: [161] },
    tree: { ...RUNNING, 'proc/1/net/udp': `${HEAD}${many(line('0050', '07'))}${line('00A1', '07')}` },
    is: 'err',
  },
  'net: what was found in the beginning of one that is': {
    primitive: 'net',
    params: telnet,
    tree: { ...RUNNING, 'proc/1/net/tcp': `${HEAD}${line('0017', '0A')}${many(line('0050', '0A'))}` },
    is: 'fail',
  },
  'net: a list of sockets that can not be read, beside one that can': {
    primitive: 'net',
    params: telnet,
    tree: { ...RUNNING, 'proc/1/net/tcp': `${HEAD}${line('0016', '0A')}`, ...UNREADABLE('proc/1/net/tcp6') },
    is: 'err',
  },
  'net: all that listen, of a server with many connections': {
    primitive: 'net',
    params: telnet,
    tree: { ...RUNNING, 'proc/1/net/tcp': `${HEAD}${line('0016', '0A')}${many(line('0050', '01'))}` },
    is: 'pass',
  },
  'net: no list of sockets at all': { primitive: 'net', params: telnet, tree: RUNNING, is: 'err' },
  'net: an interface whose flags can not be read': {
    primitive: 'net',
    params: { check: 'noPromisc' },
    tree: { ...RUNNING, ...UNREADABLE('sys/class/net/eth0/flags') },
    is: 'err',
  },
  'service: a /proc that does not show the first process': {
    primitive: 'service',
    params: off,
    tree: { 'proc/1': { link: '/proc/1' }, 'proc/self/x': '', ...UNREADABLE('proc/77/comm') },
    is: 'pass', // a tree that doesn't run: nothing does
  },
  'service: two, one of which can not be seen in a tree': {
    primitive: 'service',
    params: { units: ['a.service', 'b.service'], want: 'atMostOneActive' },
    tree: { 'etc/rc2.d/S01a': '', ...UNREADABLE('etc/rc3.d') },
    is: 'err',
  },
  'package: a data base that can not be read': {
    primitive: 'package',
    params: { names: ['telnetd'], want: 'absent', commands: ['telnetd'] },
    tree: UNREADABLE('var/lib/dpkg/status'),
    is: 'err',
  },
  'package: one whose files are there, and that waits for its configuration': {
    primitive: 'package',
    params: { names: ['telnetd'], want: 'absent' },
    tree: { 'var/lib/dpkg/status': 'Package: telnetd\nStatus: install ok half-configured\nVersion: 1\n' },
    is: 'fail',
  },
  'package: a data base without packages': {
    primitive: 'package',
    params: { names: ['telnetd'], want: 'absent' },
    tree: { 'var/lib/dpkg/status': '' },
    is: 'err',
  },
  'package: one that was never installed': {
    primitive: 'package',
    params: { names: ['telnetd'], want: 'absent' },
    tree: { 'var/lib/dpkg/status': 'Package: telnetd\nStatus: install ok not-installed\nVersion: 1\n' },
    is: 'pass',
  },
  'package: a folder of programs that can not be read, where names stand for a data base': {
    primitive: 'package',
    params: { names: ['telnetd'], want: 'absent', commands: ['telnetd'] },
    tree: UNREADABLE('usr/sbin'),
    is: 'err',
  },
  'mount: what is mounted is not to be seen': {
    primitive: 'mount',
    params: { of: 'type', types: ['nfs'], options: ['nosuid'] },
    tree: { 'proc/1/ns/net': { link: 'net:[1]' } },
    is: 'err',
  },
  'mount: the last of 25,000': {
    primitive: 'mount',
    params: { of: 'type', types: ['nfs'], options: ['nosuid'] },
    tree: {
      'proc/1/mountinfo': `${Array.from({ length: 25_000 }, (_, n) => `${n} 1 8:1 / /m${n} rw - ext4 /dev/sda1 rw\n`).join('')}9 1 8:1 / /n rw - nfs x rw\n`,
    },
    is: 'fail',
  },
  'mount: an fstab that can not be read': {
    primitive: 'mount',
    params: { of: 'type', types: ['nfs'], options: ['nosuid'] },
    tree: { ...RUNNING, ...UNREADABLE('etc/fstab') },
    is: 'err',
  },
  'pam: more includes than are followed': {
    primitive: 'pam',
    params: nullok,
    tree: {
      ...Object.fromEntries(Array.from({ length: 12 }, (_, n) => [`etc/pam.d/s${n}`, `@include s${n + 1}\n`])),
      'etc/pam.d/su': '@include s0\n',
      'etc/pam.d/s12': 'auth required pam_unix.so nullok\n',
    },
    is: 'err',
  },
  'pam: more lines than are read': {
    primitive: 'pam',
    params: nullok,
    tree: { 'etc/pam.d/su': `${'auth required pam_x.so\n'.repeat(1_000)}auth required pam_unix.so nullok\n` },
    is: 'err',
  },
  'pam: a stack that can not be read, where any may have the module': {
    primitive: 'pam',
    params: retry,
    tree: UNREADABLE('etc/pam.d/own'),
    is: 'err',
  },
  'pam: no folder that could be read': { primitive: 'pam', params: retry, tree: UNREADABLE('etc/pam.d'), is: 'err' },
  'config: more settings of sshd than are read': {
    primitive: 'config',
    params: sshd,
    tree: { 'etc/ssh/sshd_config': `${'A b\n'.repeat(2_000)}PermitEmptyPasswords yes\n` },
    is: 'err',
  },
  'config: more includes of sshd than are followed': {
    primitive: 'config',
    params: sshd,
    tree: { 'etc/ssh/sshd_config': 'Include /etc/ssh/0\n', ...includes(20) },
    is: 'err',
  },
  'config: a file that sshd includes and that can not be read': {
    primitive: 'config',
    params: sshd,
    tree: { 'etc/ssh/sshd_config': 'Include /etc/ssh/own\n', ...UNREADABLE('etc/ssh/own') },
    is: 'err',
  },
  'config: a folder that sshd includes and that can not be read': {
    primitive: 'config',
    params: sshd,
    tree: { 'etc/ssh/sshd_config': 'Include /etc/ssh/own/*.conf\n', ...UNREADABLE('etc/ssh/own') },
    is: 'err',
  },
  'config: more files that sshd includes than are read': {
    primitive: 'config',
    params: sshd,
    tree: Object.fromEntries([
      ['etc/ssh/sshd_config', 'Include /etc/ssh/own/*\n'],
      ...Array.from({ length: 200 }, (_, n) => [`etc/ssh/own/${String(n).padStart(3, '0')}`, '']),
      ['etc/ssh/own/last', 'PermitEmptyPasswords yes\n'],
    ]),
    is: 'err',
  },
  'config: a line of sshd’s that is longer than what is read': {
    primitive: 'config',
    params: { ...sshd, keys: ['Ciphers'], want: { op: 'noneOf', value: ['3des-cbc'] }, default: 'aes256-ctr' },
    tree: { 'etc/ssh/sshd_config': `Ciphers ${'aes256-ctr,'.repeat(500)}3des-cbc\n` },
    is: 'err',
  },
  'sysctl: a file that can not be read, in a tree': {
    primitive: 'sysctl',
    params: { key: 'kernel.kptr_restrict', op: 'ge', value: 1, ifMissing: 'skip' },
    tree: { 'etc/sysctl.d/1.conf': 'kernel.kptr_restrict = 2\n', ...UNREADABLE('etc/sysctl.d/2.conf') },
    is: 'err',
  },
  'kmod: a kernel whose release is not to be seen': {
    primitive: 'kmod',
    params: { module: 'usb-storage' },
    tree: { ...RUNNING, 'proc/modules': 'x 1 0 - Live 0\n' },
    is: 'err',
  },
  'kernel: a flaw that can not be read': {
    primitive: 'kernel',
    params: { check: 'cpuVulnerabilities' },
    tree: { ...RUNNING, ...UNREADABLE('sys/devices/system/cpu/vulnerabilities/spectre_v2') },
    is: 'err',
  },
  'kernel: a configuration that can not be read': {
    primitive: 'kernel',
    params: { check: 'configNot', options: { CONFIG_DEVMEM: 'y' } },
    tree: { ...RUNNING, 'proc/sys/kernel/osrelease': '6.1\n', ...UNREADABLE('boot/config-6.1') },
    is: 'err',
  },
  'audit: a file that nobody can say of whether it is there': {
    primitive: 'audit',
    params: { watch: ['/etc/sudoers'] },
    tree: { ...UNREADABLE('etc/sudoers'), 'etc/audit/rules.d/x.rules': '' },
    is: 'fail',
  },
  'file: one that is right, beside a folder that can not be read': {
    primitive: 'file',
    params: { must: 'be', paths: ['/etc/passwd', '/etc/ssh/*key'], modeForbid: '0022', ifMissing: 'pass' },
    tree: { ...ANN, ...UNREADABLE('etc/ssh') },
    is: 'err',
  },
  'accounts: a second root in a line that only the C library takes for one': {
    primitive: 'accounts',
    params: { check: 'onlyUid0', allow: ['root'] },
    tree: { 'etc/passwd': 'root:x:0:0:root:/root:/bin/sh\ntoor::0:0\n' },
    is: 'fail',
  },
  'accounts: a second root by a number that only the C library takes for one': {
    primitive: 'accounts',
    params: { check: 'onlyUid0', allow: ['root'] },
    tree: { 'etc/passwd': 'root:x:0:0:root:/root:/bin/sh\ntoor:x: +0:0::/:/bin/sh\n' },
    is: 'fail',
  },
  'accounts: an empty password in a short line': {
    primitive: 'accounts',
    params: { check: 'noEmptyPassword' },
    tree: { 'etc/passwd': 'ann:x:1000:1000:::\n', 'etc/shadow': 'ann::19000:0:99999\n' },
    is: 'fail',
  },
  'accounts: a .ssh that is a link': {
    primitive: 'accounts',
    params: keys,
    tree: { ...ANN, 'home/ann/.ssh': { link: '/srv/keys' }, 'srv/keys/authorized_keys': { mode: 0o666 } },
    is: 'err',
  },
  'accounts: a .ssh on a file system of the user’s own program, which is not asked': {
    primitive: 'accounts',
    params: keys,
    tree: {
      ...ANN,
      'proc/1/mountinfo': '1 1 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:9 / /home/ann/.ssh rw - fuse.sshfs x rw\n',
      'home/ann/.ssh': { folder: true },
    },
    is: 'err',
  },
  'accounts: a .ssh on an NTFS stick, which a program answers for': {
    primitive: 'accounts',
    params: keys,
    tree: {
      ...ANN,
      'proc/1/mountinfo': '1 1 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 8:17 / /home/ann/.ssh rw - fuseblk /dev/sdb1 rw\n',
      'home/ann/.ssh': { folder: true },
    },
    is: 'err',
  },
  'accounts: a .ssh with more than is looked at': {
    primitive: 'accounts',
    params: keys,
    tree: { ...ANN, ...Object.fromEntries(Array.from({ length: 250 }, (_, n) => [`home/ann/.ssh/k${n}`, ''])) },
    is: 'err',
  },
  'accounts: a folder on root’s PATH that is not there, and that a user can make': {
    primitive: 'accounts',
    params: { check: 'rootPath', modeForbid: '0022' },
    tree: { 'etc/environment': 'PATH=/home/ann/bin\n', 'home/ann': { folder: true, uid: 1000 } },
    asRoot: true,
    is: 'fail',
  },
  'accounts: a login.defs that can not be read, of root’s PATH': {
    primitive: 'accounts',
    params: { check: 'rootPath', modeForbid: '0022' },
    tree: UNREADABLE('etc/login.defs'),
    is: 'err',
  },
  'accounts: homes, where nobody can say whose there are': {
    primitive: 'accounts',
    params: { check: 'homeMode', modeMax: '0750' },
    tree: UNREADABLE('etc/passwd'),
    is: 'err',
  },
  'accounts: shells of system accounts, where nobody can say which users are ordinary': {
    primitive: 'accounts',
    params: { check: 'systemAccountsNoShell', except: ['root'] },
    tree: { 'etc/passwd': 'ann:x:1000:1000::/home/ann:/bin/sh\n', ...UNREADABLE('etc/login.defs') },
    is: 'err',
  },
  'accounts: modes of homes, where nobody can say which users are ordinary': {
    primitive: 'accounts',
    params: { check: 'homeMode', modeMax: '0700' },
    tree: {
      'etc/passwd': 'ann:x:600:600::/home/ann:/bin/sh\n',
      'home/ann': { folder: true, mode: 0o777 },
      ...UNREADABLE('etc/login.defs'),
    },
    is: 'err',
  },
  'accounts: a folder on root’s PATH that can not be looked at': {
    primitive: 'accounts',
    params: { check: 'rootPath', modeForbid: '0022' },
    tree: { 'etc/environment': 'PATH=/opt/x/bin\n', ...UNREADABLE('opt/x') },
    is: 'err',
  },
  'file: one that must not be there, and that nobody can say of whether it is': {
    primitive: 'file',
    params: { must: 'not-exist', paths: ['/etc/hosts.equiv'] },
    tree: UNREADABLE('etc/hosts.equiv'),
    is: 'err',
  },
  'lines: a folder of files that can not be read': {
    primitive: 'lines',
    params: { files: ['/etc/sudoers.d/*'], pattern: 'NOPASSWD', want: 'none', ifMissing: 'pass' },
    tree: UNREADABLE('etc/sudoers.d'),
    is: 'err',
  },
  'config: a folder of drop-ins that can not be read': {
    primitive: 'config',
    params: {
      syntax: 'equals',
      files: ['/etc/x.conf', '/etc/x.conf.d/*.conf'],
      key: 'storage',
      want: { op: 'eq', value: 'yes' },
      ifMissing: 'fail',
    },
    tree: { 'etc/x.conf': 'storage=yes\n', ...UNREADABLE('etc/x.conf.d') },
    is: 'err',
  },
  'pam: a folder of settings that can not be read': {
    primitive: 'pam',
    params: { ...retry, files: ['/etc/x.conf', '/etc/x.conf.d/*.conf'] },
    tree: UNREADABLE('etc/x.conf.d'),
    is: 'err',
  },
  'pam: more stacks than are read, where any may have the module': {
    primitive: 'pam',
    params: retry,
    tree: Object.fromEntries(Array.from({ length: 201 }, (_, n) => [`etc/pam.d/s${n}`, ''])),
    is: 'err',
  },
  'sysctl: a value of the running kernel that can not be read': {
    primitive: 'sysctl',
    params: { key: 'kernel.kptr_restrict', op: 'ge', value: 1, ifMissing: 'pass' },
    tree: { ...RUNNING, ...UNREADABLE('proc/sys/kernel/kptr_restrict') },
    is: 'err',
  },
  'sysctl: a folder that can not be read, in a tree': {
    primitive: 'sysctl',
    params: { key: 'kernel.kptr_restrict', op: 'ge', value: 1, ifMissing: 'skip' },
    tree: { 'etc/sysctl.conf': 'kernel.kptr_restrict = 2\n', ...UNREADABLE('etc/sysctl.d') },
    is: 'err',
  },
  'sysctl: more files than are read, in a tree': {
    primitive: 'sysctl',
    params: { key: 'kernel.kptr_restrict', op: 'ge', value: 1, ifMissing: 'skip' },
    tree: Object.fromEntries([
      ...Array.from({ length: 501 }, (_, n) => [`etc/sysctl.d/${n}.conf`, '']),
      ['etc/sysctl.conf', 'kernel.kptr_restrict = 2\n'],
    ]),
    is: 'err',
  },
  'audit: a folder of rules that can not be read': {
    primitive: 'audit',
    params: { watch: ['/etc/sudoers'] },
    tree: { 'etc/sudoers': '', 'etc/audit/audit.rules': '-w /etc/sudoers -p wa\n', ...UNREADABLE('etc/audit/rules.d') },
    is: 'err',
  },
  'audit: more rules than are read': {
    primitive: 'audit',
    params: { watch: ['/etc/sudoers'] },
    tree: { 'etc/sudoers': '', 'etc/audit/audit.rules': '-w /etc/sudoers -p wa\n'.repeat(10_001) },
    is: 'err',
  },
  'mount: a mount point that can not be looked at': {
    primitive: 'mount',
    params: { of: 'absent', target: '/sys/kernel/debug', modeMax: '0700' },
    tree: {
      ...RUNNING,
      'proc/1/mountinfo': '1 1 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:7 / /sys/kernel/debug rw - debugfs x rw\n',
      ...UNREADABLE('sys/kernel/debug'),
    },
    is: 'err',
  },
  'mount: a disk that nobody can say of whether it can be taken out': {
    primitive: 'mount',
    params: { of: 'removable', options: ['nosuid'] },
    tree: {
      ...RUNNING,
      'proc/1/mountinfo': '1 1 8:1 / / rw - ext4 /dev/vda1 rw\n2 1 8:17 / /data rw - vfat /dev/sdb1 rw\n',
      ...UNREADABLE('sys/block/sdb/removable'),
    },
    is: 'err',
  },
  'net: a list of interfaces that can not be read': {
    primitive: 'net',
    params: { check: 'noPromisc' },
    tree: { ...RUNNING, ...UNREADABLE('sys/class/net') },
    is: 'err',
  },
  'net: addresses of IPv6 that can not be read': {
    primitive: 'net',
    params: { check: 'ipv6Enabled' },
    tree: { ...RUNNING, ...UNREADABLE('proc/1/net/if_inet6') },
    is: 'err',
  },
  'kmod: a kernel whose release can not be read': {
    primitive: 'kmod',
    params: { module: 'usb-storage' },
    tree: { ...RUNNING, 'proc/modules': 'x 1 0 - Live 0\n', ...UNREADABLE('proc/sys/kernel/osrelease') },
    is: 'err',
  },
  'kmod: a list of modules that can not be read': {
    primitive: 'kmod',
    params: { module: 'usb-storage' },
    tree: {
      ...RUNNING,
      'proc/modules': 'x 1 0 - Live 0\n',
      'proc/sys/kernel/osrelease': '6.1\n',
      ...UNREADABLE('lib/modules/6.1/modules.dep'),
    },
    is: 'err',
  },
  'kmod: loaded modules that can not be read': {
    primitive: 'kmod',
    params: { module: 'usb-storage' },
    tree: { ...RUNNING, 'proc/sys/kernel/osrelease': '6.1\n', ...UNREADABLE('proc/modules') },
    is: 'err',
  },
  'kernel: security modules that can not be read': {
    primitive: 'kernel',
    params: { check: 'lsm', anyOf: ['apparmor'] },
    tree: {
      ...RUNNING,
      'sys/module/apparmor/parameters/enabled': 'Y\n',
      ...UNREADABLE('sys/kernel/security/lsm'),
    },
    is: 'err',
  },
  'kernel: a list of flaws that can not be read': {
    primitive: 'kernel',
    params: { check: 'cpuVulnerabilities' },
    tree: { ...RUNNING, ...UNREADABLE('sys/devices/system/cpu/vulnerabilities') },
    is: 'err',
  },
  'kernel: Secure Boot that can not be read': {
    primitive: 'kernel',
    params: { check: 'secureBoot' },
    tree: { ...RUNNING, ...UNREADABLE('sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c') },
    is: 'err',
  },
  'kernel: a packed configuration that can not be read': {
    primitive: 'kernel',
    params: { check: 'configNot', options: { CONFIG_DEVMEM: 'y' } },
    tree: { ...RUNNING, 'proc/sys/kernel/osrelease': '6.1\n', ...UNREADABLE('proc/config.gz') },
    is: 'err',
  },
  'service: two, one of which may run as a process that can not be looked at': {
    primitive: 'service',
    params: { units: ['a.service', 'b.service'], want: 'atMostOneActive', processes: ['chronyd', 'ntpd'] },
    tree: { ...RUNNING, 'proc/1/comm': 'init\n', 'proc/77/comm': 'chronyd\n', ...UNREADABLE('proc/77/status') },
    is: 'err',
  },
  'service: control groups that can not be looked at': {
    primitive: 'service',
    params: { units: ['rsync.socket'], want: 'disabled' },
    tree: { ...RUNNING, ...UNREADABLE('sys/fs/cgroup') },
    is: 'err',
  },
  'service: two, whose control groups can not be looked at': {
    primitive: 'service',
    params: { units: ['a.service', 'b.service'], want: 'atMostOneActive' },
    tree: { ...RUNNING, ...UNREADABLE('sys/fs/cgroup') },
    is: 'err',
  },
  'service: one that may be a user’s, where nobody can say which users are ordinary': {
    primitive: 'service',
    params: { units: ['chrony.service'], want: 'anyActive', processes: ['chronyd'] },
    tree: {
      ...RUNNING,
      'proc/1/comm': 'init\n',
      'proc/77/comm': 'chronyd\n',
      'proc/77/status': 'Name:\tx\nUid:\t600\t600\t600\t600\n',
      'proc/77/cgroup': '0::/system.slice/chrony.service\n',
      ...UNREADABLE('etc/login.defs'),
    },
    is: 'err',
  },
  'fswalk: file systems, where nobody can say which are mounted': {
    primitive: 'fswalk',
    params: { find: 'setIdFiles' },
    tree: { 'proc/1/ns/net': { link: 'net:[1]' }, ...UNREADABLE('proc/1/mountinfo') },
    is: 'err',
  },
  'fswalk: files of users, where nobody can say who they are': {
    primitive: 'fswalk',
    params: { find: 'unownedFiles' },
    tree: UNREADABLE('etc/passwd'),
    is: 'err',
  },
};

describe('A rule whose source was cut, can not be read, or is faked', () => {
  for (const [what, { primitive: name, params, tree, asRoot, is }] of Object.entries(CASES)) {
    it(`${what}: ${is}`, async function () {
      if (asRoot && process.getuid?.() !== 0) skip(this, 'needs root, to make files of others');
      const primitive = primitives.find((each) => each.name === name) as Primitive<unknown> | undefined;
      assert.ok(primitive);
      const checked = v.parse(primitive.params, params);
      const verdict = await withTree(tree, (made) => primitive.evaluate(checked, made.system()));
      assert.equal(verdict.result, is, JSON.stringify(verdict));
    });
  }

  for (const [what, isHidden, is] of [
    ['all processes are seen', false, 'pass'],
    ['those of other users are hidden by hidepid, the first process among them', true, 'err'],
  ] as const) {
    it(`service: returns ${is} if nothing of that name runs, and ${what}`, async () => {
      const [service] = primitives.filter((each) => each.name === 'service') as Primitive<unknown>[];
      assert.ok(service);
      const entries = { ...RUNNING, 'proc/1/comm': 'init\n', 'proc/77/comm': 'sleep\n' };
      const verdict = await withTree(entries, (tree) => {
        const system = tree.system();
        if (isHidden) rmSync(join(tree.root, 'proc/1'), { recursive: true });
        return service.evaluate(v.parse(service.params, off), system);
      });
      assert.equal(verdict.result, is, JSON.stringify(verdict));
      if (isHidden) assert.match(verdict.reason ?? '', /processes of others are hidden/);
    });
  }

  it('service: the last of 25,000 entries in /proc is seen @release', async function () {
    this.timeout(180_000);
    const [service] = primitives.filter((each) => each.name === 'service') as Primitive<unknown>[];
    assert.ok(service);
    const verdict = await withTree({ ...RUNNING, 'proc/99999/comm': 'telnetd\n' }, (tree) => {
      for (let pid = 100; pid < 25_100; pid += 1) writeFileSync(join(tree.root, `proc/${pid}`), '');
      return service.evaluate(v.parse(service.params, off), tree.system());
    });
    assert.deepEqual([verdict.result, verdict.actual], ['fail', 'running: telnetd']);
  });

  describe('on this machine', () => {
    const options: ScanOptions = {
      level: 2,
      walk: false,
      groupsDisabled: [],
      checksDisabled: [],
      roles: [],
      only: ['svc.timesync-enabled', 'svc.timesync-single', 'svc.logging-enabled'],
    };
    const scan = async () => {
      const engine = new BaselineEngine({ hostRoot: '/', clock: systemClock, inContainer: false });
      const { outcomes } = await engine.scan(options, new AbortController().signal);
      return outcomes.map(({ rule, result }) => [rule, result]);
    };

    it('service: a process that calls itself chronyd changes nothing', async function () {
      if (process.getuid?.() !== 0) skip(this, 'needs root, to run a process of another user');
      const before = await scan();
      const folder = mkdtempSync(join(tmpdir(), 'vakt-name-'));
      execFileSync('chmod', ['755', folder]);
      mkdirSync(join(folder, 'x'));
      const programs = ['chronyd', 'ntpd', 'rsyslogd'].map((name) => join(folder, name));
      for (const program of programs) copyFileSync('/bin/sleep', program);
      const children = programs.map((program) => spawn(program, ['60'], { uid: 65_534, gid: 65_534 }));
      try {
        await Promise.all(children.map((child) => once(child, 'spawn')));
        assert.deepEqual(await scan(), before);
      } finally {
        for (const child of children) child.kill('SIGKILL');
        rmSync(folder, { recursive: true });
      }
    });
  });
});
