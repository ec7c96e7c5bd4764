import assert from 'node:assert/strict';
import { compilePattern } from '../../../src/base/pattern.ts';
import { lines } from '../../../src/baseline/primitives/lines.ts';
import { describePrimitive, paramsOf, TOO_LONG } from './cases.ts';

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

describe('baseline: a default rule about lines', () => {
  const LINES: Readonly<Record<string, { found: readonly string[]; not: readonly string[] }>> = {
    'cfg.inittab-no-open-shell': {
      found: [
        '::respawn:-/bin/sh',
        '::respawn:-/bin/busybox sh',
        'tty1::respawn:/usr/bin/sh',
        '::askfirst:/usr/local/bin/bash --login',
        'ttyS0::askfirst:-/bin/ash </dev/ttyS0 >/dev/ttyS0 2>&1',
        '::respawn:/usr/bin/setsid /bin/cttyhack /bin/dash -l',
        'T0:23:respawn:/sbin/getty -n -l /bin/sh 115200 ttyS0',
        '::respawn:/bin/login -f root',
        '::once:sh # for tests',
      ],
      not: [
        '#::respawn:-/bin/sh',
        'tty1::respawn:/sbin/getty 38400 tty1',
        '::sysinit:/bin/sh /etc/init.d/rcS',
        '::sysinit:/bin/sh -c "exec /etc/rc"',
        '~~:S:wait:/sbin/sulogin',
        '::off:/bin/sh',
        '::respawn:/usr/sbin/flash',
        'T0:23:respawn:/sbin/getty -l /bin/login ttyS0',
      ],
    },
    'sshd.dropbear-options': {
      found: [
        'DROPBEAR_EXTRA_ARGS="-w -s"',
        'DROPBEAR_EXTRA_ARGS="-s -j -k -w"',
        "export DROPBEAR_OPTS='-ws'",
        'DROPBEAR_OPTS=-sw',
        'DROPBEAR_EXTRA_ARGS="-p 22 -sjw -b /etc/banner-msg"',
      ],
      not: [
        'DROPBEAR_EXTRA_ARGS="-w"',
        'DROPBEAR_EXTRA_ARGS="-s -g"',
        'DROPBEAR_EXTRA_ARGS="-r /etc/dropbear/some-hostkey"',
        'DROPBEAR_EXTRA_ARGS="-b /etc/banner-msg -r /etc/a-ws"',
        'DROPBEAR_EXTRA_ARGS="" # -w -s',
        '#DROPBEAR_EXTRA_ARGS="-w -s"',
      ],
    },
  };
  for (const [id, { found, not }] of Object.entries(LINES)) {
    const matches = (line: string) => {
      const { pattern } = paramsOf(id) as { pattern: string };
      const compiled = compilePattern(pattern);
      return 'matches' in compiled && compiled.matches(line);
    };
    for (const line of found) it(`${id} finds ${line}`, () => assert.ok(matches(line)));
    for (const line of not) it(`${id} does not find ${line}`, () => assert.ok(!matches(line)));
  }
});
