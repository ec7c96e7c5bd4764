import { packages } from '../../../../src/agent/baseline/primitives/package.ts';
import { describePrimitive, paramsOf } from './cases.ts';

const telnet = { names: ['telnetd', '*-telnetd'], want: 'absent', commands: ['in.telnetd'] };
const syslog = { names: ['rsyslog', 'syslog-ng'], want: 'anyPresent', commands: ['rsyslogd', 'syslogd'] };
const paragraph = (name: string, status = 'install ok installed') =>
  `Package: ${name}\nStatus: ${status}\nPriority: optional\nVersion: 1:2.3-4\nDescription: x\n Package: telnetd\n\n`;
const DPKG = 'var/lib/dpkg/status';

describePrimitive(packages, {
  'none of them': { params: telnet, tree: { [DPKG]: paragraph('adduser') }, result: 'pass', actual: 'not installed' },
  'one of them, by a pattern': {
    params: telnet,
    tree: { [DPKG]: paragraph('adduser') + paragraph('inetutils-telnetd') },
    result: 'fail',
    actual: 'inetutils-telnetd 1:2.3-4',
    where: '/var/lib/dpkg/status',
  },
  'one that was removed, and left its configuration': {
    params: telnet,
    tree: { [DPKG]: paragraph('telnetd', 'deinstall ok config-files') },
    result: 'pass',
  },
  'one of several': { params: syslog, tree: { [DPKG]: paragraph('syslog-ng') }, result: 'pass' },
  'none of several': {
    params: syslog,
    tree: { [DPKG]: paragraph('adduser') },
    result: 'fail',
    actual: 'none installed',
  },
  'a program that no package brought': {
    params: syslog,
    tree: { [DPKG]: paragraph('busybox'), 'sbin/syslogd': '' },
    result: 'pass',
    where: '/sbin/syslogd',
  },
  'one whose state is behind a long list, as opkg writes it': {
    params: telnet,
    tree: {
      'var/lib/opkg/status': `Package: telnetd\nVersion: 1.2\nProvides: ${'x'.repeat(3_000)}\nStatus: install ok installed\n\n`,
    },
    result: 'fail',
    actual: 'telnetd 1.2',
  },
  'a service of systemd that no package is named for': {
    params: paramsOf('pkg.syslog'),
    tree: { [DPKG]: paragraph('systemd'), 'usr/lib/systemd/systemd-journald': '' },
    result: 'pass',
    where: '/usr/lib/systemd/systemd-journald',
  },
  'a clock that systemd sets': {
    params: paramsOf('pkg.timesync'),
    tree: { 'usr/bin/sh': '', 'lib/systemd/systemd-timesyncd': '' },
    result: 'pass',
  },
  'SELinux, by its programs': {
    params: paramsOf('pkg.apparmor'),
    tree: { 'var/lib/rpm/rpmdb.sqlite': '', 'usr/sbin/load_policy': '' },
    result: 'pass',
  },
  'SELinux, by its policy': {
    params: paramsOf('pkg.apparmor'),
    tree: { 'var/lib/opkg/status': paragraph('refpolicy-targeted') },
    result: 'pass',
  },
  apk: {
    params: telnet,
    tree: { 'lib/apk/db/installed': 'C:Q1\nP:busybox\nV:1.36\n\nP:inetutils-telnetd\nV:2.4\n' },
    result: 'fail',
    actual: 'inetutils-telnetd 2.4',
  },
  opkg: {
    params: telnet,
    tree: { 'usr/lib/opkg/status': 'Package: telnetd\nVersion: 1\nStatus: install user installed\n' },
    result: 'fail',
  },
  'rpm, whose data base is not read: by its programs': {
    params: telnet,
    tree: { 'var/lib/rpm/rpmdb.sqlite': 'SQLite', 'usr/sbin/in.telnetd': '' },
    result: 'fail',
    where: '/usr/sbin/in.telnetd',
  },
  'rpm, and nothing else to go by': {
    params: { ...telnet, commands: undefined },
    tree: { 'var/lib/rpm/rpmdb.sqlite': 'SQLite' },
    result: 'skip',
    reason: /rpm's database can't be read/,
  },
  'no data base, and no such program': {
    params: telnet,
    tree: { 'bin/sh': '' },
    result: 'pass',
    actual: /no such program/,
  },
  'a data base that is none': {
    params: { ...telnet, commands: undefined },
    tree: { [`${DPKG}/x`]: '' },
    result: 'err',
    reason: /not a regular file/,
  },
});
