import { service } from '../../../src/baseline/primitives/service.ts';
import { RUNNING } from '../tree.ts';
import { describePrimitive } from './cases.ts';

const off = {
  units: ['telnet.socket', 'telnetd.service'],
  want: 'disabled',
  processes: ['telnetd'],
  inetd: ['telnet'],
};
const cron = { units: ['cron.service', 'crond.service'], want: 'enabledAndActive', processes: ['cron', 'crond'] };
const WANTS = 'etc/systemd/system/multi-user.target.wants';
const UNIT = 'usr/lib/systemd/system';

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
    tree: { ...RUNNING, 'etc/rc3.d/S01cron': '', 'proc/8/comm': 'cron\n' },
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
    tree: { ...RUNNING, 'proc/9/comm': 'rsyslogd\n' },
    result: 'pass',
  },
  'what runs can not be told of a tree': {
    params: { units: ['rsyslog.service'], want: 'anyActive', processes: ['rsyslogd'] },
    tree: {},
    result: 'skip',
  },
  'two that do the same': {
    params: { units: ['chrony.service', 'ntp.service'], want: 'atMostOneActive', processes: ['chronyd', 'ntpd'] },
    tree: { ...RUNNING, 'proc/8/comm': 'chronyd\n', 'proc/9/comm': 'ntpd\n' },
    result: 'fail',
  },
  'folders that hold more than is looked at': {
    params: cron,
    tree: { ...RUNNING, 'etc/inetd.conf/x': '' },
    result: 'err',
  },
});
