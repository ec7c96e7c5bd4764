import { lines } from '../../../src/baseline/primitives/lines.ts';
import { describePrimitive, TOO_LONG } from './cases.ts';

const pty = {
  files: ['/etc/sudoers', '/etc/sudoers.d/*'],
  pattern: '^\\s*Defaults\\b.*\\buse_pty\\b',
  want: 'some',
  ifMissing: 'skip',
};
const noPassword = { ...pty, pattern: '\\bNOPASSWD\\b', want: 'none' };

describePrimitive(lines, {
  'a line that has to be there, in any of the files': {
    params: pty,
    tree: { 'etc/sudoers': 'root ALL=(ALL) ALL\n', 'etc/sudoers.d/own': '# own\nDefaults use_pty\n' },
    result: 'pass',
    where: '/etc/sudoers.d/own:2',
  },
  'a line that has to be there and is not': {
    params: pty,
    tree: { 'etc/sudoers': '#Defaults use_pty\n' },
    result: 'fail',
  },
  'a line that must not be there: where, and not what': {
    params: noPassword,
    tree: { 'etc/sudoers': 'x\nann ALL=(ALL) NOPASSWD: ALL\n' },
    result: 'fail',
    actual: 'found',
    where: '/etc/sudoers:2',
  },
  'no such line': { params: noPassword, tree: { 'etc/sudoers': 'x\n' }, result: 'pass' },
  'none of the files': { params: pty, tree: {}, result: 'skip' },
  'a line of each file': {
    params: { files: ['/etc/apt/*.sources'], pattern: '^Signed-By:', want: 'someInEach', ifMissing: 'pass' },
    tree: { 'etc/apt/a.sources': 'Signed-By: x\n', 'etc/apt/b.sources': 'URIs: y\n' },
    result: 'fail',
    where: '/etc/apt/b.sources',
  },
  'a file that is longer than is read': {
    params: noPassword,
    tree: { 'etc/sudoers': TOO_LONG },
    result: 'err',
    reason: '/etc/sudoers is longer than 262144 bytes',
  },
});
