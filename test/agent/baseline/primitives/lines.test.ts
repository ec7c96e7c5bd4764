import assert from 'node:assert/strict';
import { lines } from '../../../../src/agent/baseline/primitives/lines.ts';
import { compilePattern } from '../../../../src/agent/pattern/pattern.ts';
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
  'a line in other letters, where these do not count': {
    params: { ...noPassword, ignoreCase: true },
    tree: { 'etc/sudoers': 'ann ALL=(ALL) nopasswd: ALL\n' },
    result: 'fail',
  },
  'the same, where they count': {
    params: noPassword,
    tree: { 'etc/sudoers': 'ann ALL=(ALL) nopasswd: ALL\n' },
    result: 'pass',
  },
  'a line of a file in the home of root, wherever passwd says that is': {
    params: paramsOf('cfg.root-umask'),
    tree: { 'etc/passwd': 'root:x:0:0::/home/root:/bin/sh\n', 'home/root/.profile': 'umask 000\n' },
    result: 'fail',
    where: '/home/root/.profile:1',
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
    'cfg.apt-no-trusted': {
      found: [
        'deb [trusted=yes] http://x y z',
        'deb [ arch=arm64 trusted=true ] http://x y z',
        'deb-src [trusted=on] file:/x ./',
        'deb [trusted=1] http://x y z',
        'deb [Trusted=With] http://x y z',
        'deb [allow-insecure=yes] http://x y z',
        'Trusted: yes',
        'trusted: TRUE',
        'Trusted:enable',
        'Allow-Insecure: 1',
      ],
      not: [
        'deb [trusted=no] http://x y z',
        'deb [trusted=without] http://x y z',
        'deb [trusted=0 arch=arm64] http://yes y z',
        '# deb [trusted=yes] http://x y z',
        '#Trusted: yes',
        'Trusted: no',
        'deb [signed-by=/usr/share/keyrings/x.gpg] http://x y trusted',
      ],
    },
    'cfg.apt-no-unauthenticated': {
      found: [
        'APT::Get::AllowUnauthenticated "true";',
        'apt::get::allowunauthenticated "on";',
        'Acquire::AllowInsecureRepositories "TRUE";',
        'Acquire { AllowInsecureRepositories Yes; };',
        'APT::Get::AllowUnauthenticated 1;',
        'APT::Get::AllowUnauthenticated "with";',
      ],
      not: [
        'APT::Get::AllowUnauthenticated "false";',
        'APT::Get::AllowUnauthenticated "without";',
        '// APT::Get::AllowUnauthenticated "true";',
      ],
    },
  };
  for (const [id, { found, not }] of Object.entries(LINES)) {
    const matches = (line: string) => {
      const { pattern, ignoreCase = false } = paramsOf(id) as { pattern: string; ignoreCase?: boolean };
      const compiled = compilePattern(pattern, { i: ignoreCase });
      return 'matches' in compiled && compiled.matches(line);
    };
    for (const line of found) it(`${id} finds ${line}`, () => assert.ok(matches(line)));
    for (const line of not) it(`${id} does not find ${line}`, () => assert.ok(!matches(line)));
  }
});
