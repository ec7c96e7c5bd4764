import { net } from '../../../../src/agent/baseline/primitives/net.ts';
import { RUNNING } from '../tree.ts';
import { describePrimitive } from './cases.ts';

const telnet = { check: 'notListening', protocols: ['tcp'], ports: [23], scope: 'nonLoopback' };
const HEAD = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n';
const socket = (local: string, state = '0A') =>
  `${HEAD}   0: ${local} ${'0'.repeat(local.indexOf(':'))}:0000 ${state} 00000000:00000000 00:00000000 00000000     0        0 1 1\n`;
const TCP = 'proc/1/net/tcp';
/** A table longer than the part that is read: more than 4 MiB of lines of 150 bytes. */
const longTable = (local: string, state: string, before = '') => {
  const line = socket(local, state).slice(HEAD.length);
  return HEAD + before + line.repeat(Math.ceil((4 * 1024 * 1024) / line.length) + 1);
};

describePrimitive(net, {
  'a table of TCP that is cut among listeners': {
    params: telnet,
    tree: { ...RUNNING, [TCP]: longTable('00000000:0050', '0A') },
    result: 'err',
    reason: /longer than/,
  },
  'a table of TCP that is cut after the last listener, since connections follow': {
    params: telnet,
    tree: { ...RUNNING, [TCP]: longTable('00000000:0050', '01') },
    result: 'pass',
  },
  'a table of UDP that is cut, even after connected sockets': {
    params: { ...telnet, protocols: ['udp'] },
    tree: { ...RUNNING, 'proc/1/net/udp': longTable('00000000:0050', '01') },
    result: 'err',
    reason: /longer than/,
  },
  'a cut table of UDP, when only TCP counts': {
    params: telnet,
    tree: { ...RUNNING, [TCP]: HEAD, 'proc/1/net/udp': longTable('00000000:0050', '07') },
    result: 'pass',
  },
  'a listener in a table that is cut': {
    params: telnet,
    tree: {
      ...RUNNING,
      [TCP]: longTable('00000000:0050', '0A', socket('00000000:0017').slice(HEAD.length)),
    },
    result: 'fail',
    actual: 'tcp 0.0.0.0:23',
  },
  'no table of any protocol': { params: telnet, tree: RUNNING, result: 'err', reason: /there is no .*\/tcp/ },
  'nothing listens': { params: telnet, tree: { ...RUNNING, [TCP]: HEAD }, result: 'pass' },
  'to all': {
    params: telnet,
    tree: { ...RUNNING, [TCP]: socket('00000000:0017') },
    result: 'fail',
    actual: 'tcp 0.0.0.0:23',
  },
  'to this machine only': { params: telnet, tree: { ...RUNNING, [TCP]: socket('0100007F:0017') }, result: 'pass' },
  'to this machine, where that counts': {
    params: { ...telnet, scope: 'any' },
    tree: { ...RUNNING, [TCP]: socket('0100007F:0017') },
    result: 'fail',
  },
  'a connection is no listener': {
    params: telnet,
    tree: { ...RUNNING, [TCP]: socket('00000000:0017', '01') },
    result: 'pass',
  },
  'to all, by IPv6': {
    params: telnet,
    tree: { ...RUNNING, 'proc/1/net/tcp6': socket(`${'0'.repeat(32)}:0017`) },
    result: 'fail',
    actual: 'tcp :::23',
  },
  'to this machine, by IPv6': {
    params: telnet,
    tree: { ...RUNNING, 'proc/1/net/tcp6': socket('00000000000000000000000001000000:0017') },
    result: 'pass',
  },
  'to one address of IPv6, in its short form': {
    params: telnet,
    tree: { ...RUNNING, 'proc/1/net/tcp6': socket('B80D0120000000000000000001000000:0017') },
    result: 'fail',
    actual: 'tcp 2001:db8::1:23',
  },
  'to this machine, by IPv4 within IPv6': {
    params: telnet,
    tree: { ...RUNNING, 'proc/1/net/tcp6': socket('0000000000000000FFFF00000100007F:0017') },
    result: 'pass',
  },
  'UDP, one of several ports': {
    params: { ...telnet, protocols: ['tcp', 'udp'], ports: [69, 161] },
    tree: { ...RUNNING, 'proc/1/net/udp': socket('0A01A8C0:00A1', '07') },
    result: 'fail',
    actual: 'udp 192.168.1.10:161',
  },
  'a promiscuous interface': {
    params: { check: 'noPromisc' },
    tree: { ...RUNNING, 'sys/class/net/lo/flags': '0x9\n', 'sys/class/net/eth0/flags': '0x1103\n' },
    result: 'fail',
    actual: 'eth0',
  },
  'a wireless interface that is down': {
    params: { check: 'noWireless' },
    tree: { ...RUNNING, 'sys/class/net/wlan0/flags': '0x1002\n', 'sys/class/net/wlan0/wireless': { folder: true } },
    result: 'pass',
  },
  IPv6: {
    params: { check: 'ipv6Enabled' },
    tree: { ...RUNNING, 'proc/1/net/if_inet6': `${'0'.repeat(31)}1 01 80 10 80 lo\n` },
    result: 'pass',
  },
  'a tree that does not run': { params: telnet, tree: {}, result: 'skip' },
  'a list that can not be read': { params: telnet, tree: { ...RUNNING, [`${TCP}/x`]: '' }, result: 'err' },
});
