import assert from 'node:assert/strict';
import * as v from 'valibot';
import { service } from '../../../../src/agent/baseline/primitives/service.ts';
import { type Entries, RUNNING } from '../tree.ts';
import { describePrimitive, paramsOf } from './cases.ts';

const off = {
  units: ['telnet.socket', 'telnetd.service'],
  want: 'disabled',
  processes: ['telnetd'],
  inetd: ['telnet'],
};
const cron = { units: ['cron.service', 'crond.service'], want: 'enabledAndActive', processes: ['cron', 'crond'] };
const rotation = paramsOf('svc.logrotate-enabled');
const WANTS = 'etc/systemd/system/multi-user.target.wants';
const UNIT = 'usr/lib/systemd/system';
const GENERATED = 'run/systemd/generator/getty.target.wants';

const MOUNTS = { link: 'mnt:[4026531840]' };
const SYSTEMD: Entries = { ...RUNNING, 'run/systemd/system': { folder: true } };
const sync = { units: ['chrony.service'], want: 'anyActive', processes: ['chronyd', 'systemd-timesyn'] };

/** A process as its /proc/PID shows it. */
const process = (
  pid: number,
  comm: string,
  of: { uid?: number; exe?: string; group?: string; mounts?: string } = {},
): Entries => ({
  'proc/1/ns/mnt': MOUNTS,
  [`proc/${pid}/comm`]: `${comm}\n`,
  [`proc/${pid}/status`]: `Name:\t${comm}\nUid:\t0\t${of.uid ?? 0}\t0\t0\n`,
  [`proc/${pid}/exe`]: { link: of.exe ?? `/usr/sbin/${comm}` },
  [`proc/${pid}/cgroup`]: `0::${of.group ?? '/'}\n`,
  [`proc/${pid}/ns/mnt`]: { link: of.mounts ?? MOUNTS.link },
});
/** Its program, which only root can change. */
const program = (name: string): Entries => ({ [`usr/sbin/${name}`]: { text: '', mode: 0o755 } });
const group = (unit: string, populated: 0 | 1): Entries => ({
  [`sys/fs/cgroup/system.slice/${unit}/cgroup.events`]: `populated ${populated}\nfrozen 0\n`,
});

describePrimitive(service, {
  'neither started nor running': { params: off, tree: RUNNING, result: 'pass', actual: 'off' },
  'started by a link of systemd’s': {
    params: off,
    tree: { [`${UNIT}/telnetd.service`]: '[Unit]', [`${WANTS}/telnetd.service`]: { link: `/${UNIT}/telnetd.service` } },
    result: 'fail',
    where: `/${WANTS}/telnetd.service`,
  },
  'a link that was left, without a unit': {
    params: off,
    tree: { [`${WANTS}/telnetd.service`]: { link: '/gone' } },
    result: 'pass',
  },
  'started by SysV': {
    params: off,
    tree: { 'etc/rc2.d/S20telnetd': '#!/bin/sh' },
    result: 'fail',
    where: '/etc/rc2.d/S20telnetd',
  },
  'started by OpenRC': { params: off, tree: { 'etc/runlevels/default/telnetd': '' }, result: 'fail' },
  'started by inetd': {
    params: off,
    tree: { 'etc/inetd.conf': '#telnet stream\ntelnet stream tcp nowait root x\n' },
    result: 'fail',
    where: '/etc/inetd.conf:2',
  },
  'switched off in xinetd': {
    params: off,
    tree: { 'etc/xinetd.d/telnet': 'service telnet\n{\n  disable = yes\n}\n' },
    result: 'pass',
  },
  'running, whoever started it': {
    params: off,
    tree: { ...RUNNING, 'proc/77/comm': 'telnetd\n' },
    result: 'fail',
    actual: 'running: telnetd',
  },
  masked: {
    params: { units: ['ctrl-alt-del.target'], want: 'masked' },
    tree: { [`${UNIT}/ctrl-alt-del.target`]: '[Unit]', 'etc/systemd/system/ctrl-alt-del.target': '' },
    result: 'pass',
  },
  'not masked': {
    params: { units: ['ctrl-alt-del.target'], want: 'masked' },
    tree: { [`${UNIT}/ctrl-alt-del.target`]: '[Unit]' },
    result: 'fail',
  },
  'started and running': {
    params: cron,
    tree: { ...RUNNING, 'etc/rc3.d/S01cron': '', ...process(8, 'cron'), ...program('cron') },
    asRoot: true,
    result: 'pass',
  },
  'no timer, but a job of cron': {
    params: rotation,
    tree: { ...SYSTEMD, 'etc/cron.daily/logrotate': { mode: 0o755 } },
    result: 'pass',
    where: '/etc/cron.daily/logrotate',
  },
  'a timer that nothing reads, and a job of cron': {
    params: rotation,
    tree: { ...RUNNING, [`${UNIT}/logrotate.timer`]: '[Timer]', 'etc/cron.daily/logrotate': { mode: 0o755 } },
    result: 'pass',
  },
  'a timer of systemd that is off, and a job of cron that leaves the work to it': {
    params: rotation,
    tree: {
      ...SYSTEMD,
      'usr/lib/systemd/systemd': '',
      [`${UNIT}/logrotate.timer`]: '[Timer]',
      'etc/cron.daily/logrotate': { mode: 0o755 },
    },
    result: 'fail',
    actual: 'not started at boot',
  },
  'no timer, and a job that cron does not run': {
    params: rotation,
    tree: { ...SYSTEMD, 'etc/cron.daily/logrotate': { mode: 0o644 } },
    result: 'fail',
    actual: 'not installed',
  },
  'a packet filter that OpenWrt starts': {
    params: paramsOf('svc.firewall-enabled'),
    tree: { ...RUNNING, 'etc/rc.d/S19firewall': { link: '../init.d/firewall' } },
    result: 'pass',
    where: '/etc/rc.d/S19firewall',
  },
  'a packet filter that OpenRC starts': {
    params: paramsOf('svc.firewall-enabled'),
    tree: { ...RUNNING, 'etc/runlevels/default/ip6tables': { link: '/etc/init.d/ip6tables' } },
    result: 'pass',
  },
  'started, but not running': {
    params: cron,
    tree: { ...RUNNING, 'etc/rc3.d/S01cron': '' },
    result: 'fail',
    actual: /not running/,
  },
  'started, in a tree where nothing runs': { params: cron, tree: { 'etc/rc3.d/S01cron': '' }, result: 'pass' },
  'one of several runs': {
    params: { units: ['rsyslog.service'], want: 'anyActive', processes: ['rsyslogd'] },
    tree: { ...RUNNING, ...process(9, 'rsyslogd'), ...program('rsyslogd') },
    asRoot: true,
    result: 'pass',
  },
  'what runs can not be told of a tree': {
    params: { units: ['rsyslog.service'], want: 'anyActive', processes: ['rsyslogd'] },
    tree: {},
    result: 'skip',
  },
  'two that do the same': {
    params: { units: ['chrony.service', 'ntp.service'], want: 'atMostOneActive', processes: ['chronyd', 'ntpd'] },
    tree: { ...RUNNING, ...process(8, 'chronyd'), ...process(9, 'ntpd'), ...program('chronyd'), ...program('ntpd') },
    asRoot: true,
    result: 'fail',
  },
  'one, and one that only calls itself so': {
    params: { units: ['chrony.service', 'ntp.service'], want: 'atMostOneActive', processes: ['chronyd', 'ntpd'] },
    tree: { ...RUNNING, ...process(8, 'chronyd'), ...process(9, 'ntpd', { uid: 1000 }), ...program('chronyd') },
    asRoot: true,
    result: 'pass',
    actual: 'running: chronyd',
  },
  'by the control group of its unit, whoever may not look at its program': {
    params: sync,
    tree: {
      ...SYSTEMD,
      'proc/8/comm': 'chronyd\n',
      'proc/8/status': 'Name:\tx\nUid:\t105\t105\t105\t105\n',
      'proc/8/cgroup': '0::/system.slice/chrony.service\n',
    },
    result: 'pass',
  },
  'by its unit having processes, whoever may not look at those': {
    params: sync,
    tree: { ...SYSTEMD, ...group('chrony.service', 1), 'proc/77/comm': { folder: true } },
    result: 'pass',
    actual: 'running: chrony.service',
  },
  'by a unit of another name, and a program of root’s': {
    params: sync,
    tree: {
      ...SYSTEMD,
      ...process(8, 'systemd-timesyn', {
        uid: 100,
        exe: '/usr/sbin/systemd-timesyncd (deleted)',
        group: '/system.slice/system-time.slice/time@1.service',
        mounts: 'mnt:[2]',
      }),
      ...program('systemd-timesyncd'),
    },
    asRoot: true,
    result: 'pass',
  },
  'an applet of busybox': {
    params: { ...sync, processes: ['ntpd'] },
    tree: { ...RUNNING, ...process(8, 'ntpd', { exe: '/usr/sbin/busybox' }), ...program('busybox') },
    asRoot: true,
    result: 'pass',
  },
  'by a user that systemd has made for it': {
    params: sync,
    tree: { ...SYSTEMD, ...process(8, 'chronyd', { uid: 61_200, group: '/system.slice/chrony.service' }) },
    result: 'pass',
  },
  'a program of a user’s that cron has started, and that is left of it': {
    params: { units: ['cron.service'], want: 'anyActive', processes: ['cron'] },
    tree: {
      ...SYSTEMD,
      ...group('cron.service', 1),
      ...process(8, 'cron', { uid: 1000, exe: '/home/ann/cron', group: '/system.slice/cron.service' }),
    },
    result: 'fail',
    actual: /it is user 1000's/,
  },
  'the same, where not all processes can be seen': {
    params: { units: ['cron.service'], want: 'anyActive', processes: ['cron'] },
    tree: { ...SYSTEMD, ...group('cron.service', 1), 'proc/77/comm': { folder: true } },
    result: 'err',
  },
  'a unit whose processes have ended': {
    params: sync,
    tree: { ...SYSTEMD, ...group('chrony.service', 0) },
    result: 'fail',
    actual: 'none is running',
  },
  'a user’s process of that name, with the lines of a system service in its name and its control group': {
    params: sync,
    tree: {
      ...SYSTEMD,
      ...process(8, 'chronyd', {
        uid: 1000,
        group: '/user.slice/user@1000.service/x\r0::/system.slice/chrony.service',
      }),
      'proc/8/status': 'Name:\tx\rUid:\t0\t0\t\nUid:\t1000\t1000\t1000\t1000\n',
      ...program('chronyd'),
    },
    asRoot: true,
    result: 'fail',
  },
  'a user’s process of that name': {
    params: sync,
    tree: { ...RUNNING, ...process(8, 'chronyd', { uid: 1000 }), ...program('chronyd') },
    result: 'fail',
    actual: "none is running; process 8 is called chronyd, but it is user 1000's",
  },
  'another program that calls itself so': {
    params: sync,
    tree: { ...RUNNING, ...process(8, 'chronyd', { uid: 33, exe: '/usr/sbin/php' }), ...program('php') },
    result: 'fail',
    actual: /but it is \/usr\/sbin\/php/,
  },
  'a busybox of a user below those for people that calls itself so': {
    params: sync,
    tree: { ...RUNNING, ...process(8, 'chronyd', { uid: 33, exe: '/usr/sbin/busybox' }), ...program('busybox') },
    result: 'fail',
  },
  'a program of that name that others may write': {
    params: sync,
    tree: { ...RUNNING, ...process(8, 'chronyd'), 'usr/sbin/chronyd': { mode: 0o777 } },
    asRoot: true,
    result: 'fail',
    actual: /\/usr\/sbin\/chronyd is writable by others than root/,
  },
  'a program of that name in a folder that others may write': {
    params: sync,
    tree: {
      ...RUNNING,
      ...process(8, 'chronyd', { exe: '/tmp/chronyd' }),
      tmp: { folder: true, mode: 0o1777 },
      'tmp/chronyd': '',
    },
    asRoot: true,
    result: 'fail',
    actual: /\/tmp is writable by others than root/,
  },
  'a program of that name in a container': {
    params: sync,
    tree: { ...RUNNING, ...process(8, 'chronyd', { mounts: 'mnt:[7]' }), ...program('chronyd') },
    result: 'fail',
    actual: /container/,
  },
  'a group that a user has named like the system’s': {
    params: sync,
    tree: {
      ...SYSTEMD,
      ...process(8, 'chronyd', { group: '/user.slice/user-1000.slice/user@1000.service/system.slice/chrony.service' }),
      ...program('chronyd'),
    },
    result: 'fail',
    actual: /not a system service/,
  },
  'a group that a container has named like the system’s': {
    params: sync,
    tree: {
      ...SYSTEMD,
      ...process(8, 'chronyd', { group: '/system.slice/docker-1.scope/system.slice/chrony.service' }),
      ...program('chronyd'),
    },
    result: 'fail',
  },
  'running by its program, whatever it calls itself': {
    params: off,
    tree: { ...RUNNING, ...process(77, 'bash', { uid: 1000, exe: '/home/ann/telnetd' }) },
    result: 'fail',
    actual: 'running: telnetd',
  },
  'an instance that a generator has started by systemd’s links': {
    params: paramsOf('svc.serial-getty'),
    tree: {
      ...SYSTEMD,
      [`${UNIT}/serial-getty@.service`]: '[Unit]',
      [`${GENERATED}/serial-getty@ttyS0.service`]: { link: `/${UNIT}/serial-getty@.service` },
    },
    result: 'fail',
    actual: 'serial-getty@ttyS0.service is started at boot',
    where: `/${GENERATED}/serial-getty@ttyS0.service`,
  },
  'an instance that a generator would start, and that is masked': {
    params: paramsOf('svc.serial-getty'),
    tree: {
      ...SYSTEMD,
      [`${UNIT}/serial-getty@.service`]: '[Unit]',
      [`${GENERATED}/serial-getty@ttyS0.service`]: { link: `/${UNIT}/serial-getty@.service` },
      'etc/systemd/system/serial-getty@ttyS0.service': { link: '/dev/null' },
    },
    result: 'pass',
  },
  'a link that starts it, and that is masked in a folder above': {
    params: off,
    tree: {
      ...SYSTEMD,
      [`${UNIT}/telnetd.service`]: '[Unit]',
      [`${UNIT}/multi-user.target.wants/telnetd.service`]: { link: '../telnetd.service' },
      [`${WANTS}/telnetd.service`]: { link: '/dev/null' },
    },
    result: 'pass',
  },
  'a link that starts it, beside a masked one of another target': {
    params: off,
    tree: {
      ...SYSTEMD,
      [`${UNIT}/telnetd.service`]: '[Unit]',
      [`${UNIT}/graphical.target.wants/telnetd.service`]: { link: '../telnetd.service' },
      [`${WANTS}/telnetd.service`]: { link: '/dev/null' },
    },
    result: 'fail',
  },
  'a unit that a generator has made of a script': {
    params: off,
    tree: {
      ...SYSTEMD,
      'run/systemd/generator.late/telnetd.service': '[Unit]',
      'run/systemd/generator.late/multi-user.target.wants/telnetd.service': { link: '../telnetd.service' },
    },
    result: 'fail',
  },
  'an instance that runs, by the slice of its template': {
    params: paramsOf('svc.serial-getty'),
    tree: {
      ...SYSTEMD,
      'sys/fs/cgroup/system.slice/system-serial\\x2dgetty.slice/serial-getty@ttyAMA0.service/cgroup.procs': '7\n',
    },
    result: 'fail',
    actual: 'running: serial-getty@ttyAMA0.service',
  },
  'running by its unit': {
    params: off,
    tree: { ...SYSTEMD, ...group('telnetd.service', 1) },
    result: 'fail',
  },
  'a process whose name can not be read, where none may run': {
    params: off,
    tree: { ...RUNNING, 'proc/77/comm': { folder: true } },
    result: 'err',
    reason: /proc\/77\/comm/,
  },
  'a process whose name can not be read, where one must run': {
    params: sync,
    tree: { ...RUNNING, 'proc/77/comm': { folder: true } },
    result: 'err',
  },
  'folders that hold more than is looked at': {
    params: cron,
    tree: { ...RUNNING, 'etc/inetd.conf/x': '' },
    result: 'err',
  },
});

it('baseline: service says how to keep what a generator starts from starting', () => {
  const remedy = (params: object) => service.remedy(v.parse(service.params, params));
  assert.match(remedy(paramsOf('svc.serial-getty')), /^systemctl mask --now serial-getty@ttyS0\.service /);
  assert.match(remedy(off), /^systemctl disable --now telnet\.socket telnetd\.service, /);
});
