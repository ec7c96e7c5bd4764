import { sudoers } from '../../../../src/agent/baseline/primitives/sudoers.ts';
import { describePrimitive, paramsOf, TOO_LONG } from './cases.ts';

const noPassword = paramsOf('cfg.sudo-no-nopasswd');
const pty = paramsOf('cfg.sudo-use-pty');
const sudo = (version: string) => ({
  'var/lib/dpkg/status': `Package: sudo\nStatus: install ok installed\nVersion: ${version}\n\n`,
});
const OPEN = 'ann ALL=(ALL) NOPASSWD: ALL\n';

describePrimitive(sudoers, {
  'no such line': { params: noPassword, tree: { 'etc/sudoers': '# NOPASSWD\nann ALL=(ALL) ALL\n' }, result: 'pass' },
  'a user by number': {
    params: noPassword,
    tree: { 'etc/sudoers': 'x\n#1000 ALL=(#0) NOPASSWD: ALL\n' },
    result: 'fail',
    where: '/etc/sudoers:2',
  },
  'a folder of another name': {
    params: noPassword,
    tree: { 'etc/sudoers': '@includedir /etc/sudoers.local.d\n', 'etc/sudoers.local.d/own': OPEN },
    result: 'fail',
    where: '/etc/sudoers.local.d/own:1',
  },
  'a file by the old directive, relative to its folder, in quotes': {
    params: noPassword,
    tree: { 'etc/sudoers': '#include "own file"\n', 'etc/own file': `\n${OPEN}` },
    result: 'fail',
    where: '/etc/own file:2',
  },
  'files that sudo does not read': {
    params: noPassword,
    tree: {
      'etc/sudoers': '@includedir /etc/sudoers.d # own\n',
      'etc/sudoers.d/own.bak': OPEN,
      'etc/sudoers.d/own~': OPEN,
      'etc/sudoers.other/own': OPEN,
    },
    result: 'pass',
  },
  'a file by the name of the host': {
    params: noPassword,
    tree: { 'etc/sudoers': '@include /etc/sudoers.%h\n' },
    result: 'err',
    reason: /sudoers:1 includes files in a way that is not understood/,
  },
  'files that include one another for ever': {
    params: noPassword,
    tree: { 'etc/sudoers': '@include sudoers\n' },
    result: 'err',
    reason: '/etc/sudoers includes more than 200 files',
  },
  'a line in two parts': {
    params: pty,
    tree: { 'etc/sudoers': 'Defaults env_reset, \\\n  use_pty\n' },
    result: 'pass',
    where: '/etc/sudoers:2',
  },
  'a comment has no second part': {
    params: noPassword,
    tree: { 'etc/sudoers': `# all \\\n${OPEN}` },
    result: 'fail',
    where: '/etc/sudoers:2',
  },
  'a flag that is switched off': { params: pty, tree: { 'etc/sudoers': 'Defaults !use_pty\n' }, result: 'fail' },
  'a flag that is switched off later, for some': {
    params: pty,
    tree: { 'etc/sudoers': 'Defaults use_pty\nDefaults:#1000 !use_pty\n' },
    result: 'fail',
    where: '/etc/sudoers:2',
  },
  'a flag that holds for one user only': {
    params: pty,
    tree: { 'etc/sudoers': 'Defaults:ann use_pty\n', ...sudo('1.9.13p3-1+deb12u1') },
    result: 'fail',
    actual: 'not found, and sudo is 1.9.13p3-1+deb12u1',
  },
  'a flag that is the default of this version': {
    params: pty,
    tree: { 'etc/sudoers': 'Defaults env_reset\n', ...sudo('1.9.16p2-3') },
    result: 'pass',
    actual: 'not found, and sudo is 1.9.16p2-3',
  },
  'a flag that is the default of this version, and is switched off': {
    params: pty,
    tree: { 'etc/sudoers': 'Defaults !use_pty\n', ...sudo('1.9.16p2-3') },
    result: 'fail',
  },
  'a flag that may be the default of this version': {
    params: pty,
    tree: { 'etc/sudoers': 'Defaults env_reset\n' },
    result: 'err',
    reason: 'not found, and the version of sudo is not known',
  },
  'a line that every version needs': {
    params: paramsOf('cfg.sudo-logfile'),
    tree: { 'etc/sudoers': 'Defaults env_reset\n', ...sudo('1.9.16p2-3') },
    result: 'fail',
    actual: 'not found',
  },
  'no sudoers': { params: { ...pty, ifMissing: 'skip' }, tree: {}, result: 'skip' },
  'a file that is too long': { params: noPassword, tree: { 'etc/sudoers': TOO_LONG }, result: 'err' },
});
