import { sysctl } from '../../../../src/agent/baseline/primitives/sysctl.ts';
import { RUNNING } from '../tree.ts';
import { describePrimitive } from './cases.ts';

const aslr = { key: 'kernel.randomize_va_space', op: 'eq', value: 2, ifMissing: 'fail' };
const forwarding = { key: 'net.ipv4.ip_forward', op: 'eq', value: 0, ifMissing: 'skip' };
const PLACE = 'proc/sys/kernel/randomize_va_space';

describePrimitive(sysctl, {
  'the value that is wanted': {
    params: aslr,
    tree: { ...RUNNING, [PLACE]: '2\n' },
    result: 'pass',
    actual: '2',
    where: `/${PLACE}`,
  },
  'another value': { params: aslr, tree: { ...RUNNING, [PLACE]: '1\n' }, result: 'fail', actual: '1' },
  'one of several values': {
    params: { ...aslr, op: 'in', value: [1, 2] },
    tree: { ...RUNNING, [PLACE]: '1\n' },
    result: 'pass',
  },
  'more than is wanted': {
    params: { ...aslr, op: 'ge', value: 1 },
    tree: { ...RUNNING, [PLACE]: '2\n' },
    result: 'pass',
  },
  'what the next boot changes': {
    params: aslr,
    tree: { ...RUNNING, [PLACE]: '2\n', 'etc/sysctl.d/99-own.conf': '# own\nkernel.randomize_va_space = 0\n' },
    result: 'pass',
    actual: '2 (/etc/sysctl.d/99-own.conf:2 sets 0)',
  },
  'no such parameter, where that is wrong': { params: aslr, tree: RUNNING, result: 'fail', actual: 'does not exist' },
  'no such parameter, where that does not matter': { params: forwarding, tree: RUNNING, result: 'skip' },
  'no number': {
    params: aslr,
    tree: { ...RUNNING, [PLACE]: 'secret words' },
    result: 'err',
    reason: /does not contain a number$/,
  },
  'the network of another namespace': {
    params: forwarding,
    tree: { ...RUNNING, 'proc/1/ns/net': { link: 'net:[1]' }, 'proc/sys/net/ipv4/ip_forward': '0\n' },
    result: 'skip',
    reason: /namespace/,
  },
  'a tree that does not run, by its files; etc goes before lib, and a later name before an earlier one': {
    params: forwarding,
    tree: {
      'etc/sysctl.d/50-a.conf': 'net/ipv4/ip_forward=1\n',
      'usr/lib/sysctl.d/60-b.conf': 'net.ipv4.ip_forward=0\n',
      'usr/lib/sysctl.d/50-a.conf': 'net.ipv4.ip_forward=1\n',
    },
    result: 'pass',
    where: '/usr/lib/sysctl.d/60-b.conf:1',
  },
  'a tree that does not run, whose last file sets something else': {
    params: forwarding,
    tree: { 'etc/sysctl.d/50-a.conf': 'net.ipv4.ip_forward=0\n', 'etc/sysctl.conf': '-net.ipv4.ip_forward = 1\n' },
    result: 'fail',
    where: '/etc/sysctl.conf:1',
  },
  'a tree that does not run, whose systemd-sysctl does not read sysctl.conf': {
    params: forwarding,
    tree: {
      'usr/lib/systemd/systemd-sysctl': '',
      'etc/sysctl.d/50-a.conf': 'net.ipv4.ip_forward=1\n',
      'etc/sysctl.conf': 'net.ipv4.ip_forward = 0\n',
    },
    result: 'fail',
    where: '/etc/sysctl.d/50-a.conf:1',
  },
  'a tree that does not run, whose sysctl.conf is linked from sysctl.d': {
    params: forwarding,
    tree: {
      'usr/lib/systemd/systemd-sysctl': '',
      'etc/sysctl.d/50-a.conf': 'net.ipv4.ip_forward=1\n',
      'etc/sysctl.d/99-sysctl.conf': { link: '../sysctl.conf' },
      'etc/sysctl.conf': 'net.ipv4.ip_forward = 0\n',
    },
    result: 'pass',
  },
  'a tree that does not run, and sets nothing': {
    params: forwarding,
    tree: {},
    result: 'skip',
    reason: /^no file sets/,
  },
});
