import assert from 'node:assert/strict';
import { chmodSync, chownSync, writeFileSync } from 'node:fs';
import { accounts } from '../../../../src/agent/baseline/primitives/accounts.ts';
import { skip } from '../../../harness/require.ts';
import { withTree } from '../tree.ts';
import { describePrimitive, TOO_LONG } from './cases.ts';

const ROOT = 'root:x:0:0:root:/root:/bin/bash\n';
const PASSWD = `${ROOT}daemon:x:1:1::/usr/sbin:/usr/sbin/nologin\nann:x:1000:1000::/home/ann:/bin/bash\n`;
const GROUP = 'root:x:0:\ndaemon:x:1:\nshadow:x:42:\nann:x:1000:\n';
const SHADOW =
  'root:!:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\nann:$y$j9T$salt$secrethash:19000:1:365:7:30::\n';
const FILES = { 'etc/passwd': PASSWD, 'etc/group': GROUP, 'etc/shadow': { text: SHADOW, mode: 0o600 } };
const passwd = (more: string) => ({ ...FILES, 'etc/passwd': `${PASSWD}${more}\n` });
const group = (more: string) => ({ ...FILES, 'etc/group': `${GROUP}${more}\n` });
const shadow = (more: string) => ({ ...FILES, 'etc/shadow': { text: `${SHADOW}${more}\n`, mode: 0o600 } });
/** The day of UTC, as in the shadow file; it can end while the tests run. */
const TODAY = Math.floor(Date.now() / 86_400_000);
const HOME = { folder: true, mode: 0o750, uid: 1000, gid: 1000 } as const;
const OWN = { text: '', uid: 1000, gid: 1000, mode: 0o600 } as const;
const home = (more: object, of: object = HOME) => ({
  ...FILES,
  'root/.profile': '',
  'home/ann': { ...HOME, ...of },
  ...more,
});

describePrimitive(accounts, {
  onlyUid0: { params: { check: 'onlyUid0', allow: ['root'] }, tree: FILES, result: 'pass' },
  'onlyUid0, of two': {
    params: { check: 'onlyUid0', allow: ['root'] },
    tree: passwd('toor:x:0:0::/:/bin/sh'),
    result: 'fail',
    actual: 'toor',
    where: '/etc/passwd:4',
  },
  'onlyUid0, with musl': {
    params: { check: 'onlyUid0', allow: ['root'] },
    tree: { ...passwd('#toor:x::0::/:/bin/sh'), 'bin/sh': '/lib/ld-musl-x86_64.so.1' },
    result: 'fail',
    actual: '#toor',
    where: '/etc/passwd:4',
  },
  primaryGid: { params: { check: 'primaryGid', user: 'ann', gid: 0 }, tree: FILES, result: 'fail', actual: 'gid 1000' },
  onlyGid0Group: {
    params: { check: 'onlyGid0Group', allow: ['root'] },
    tree: group('wheel:x:0:'),
    result: 'fail',
    actual: 'wheel',
  },
  onlyGid0: {
    params: { check: 'onlyGid0', allow: ['root'] },
    tree: passwd('bob:x:1001:0::/:/bin/sh'),
    result: 'fail',
    actual: 'bob',
  },
  groupExists: { params: { check: 'groupExists', group: 'root', gid: 0 }, tree: FILES, result: 'pass' },
  'groupExists, with another gid': {
    params: { check: 'groupExists', group: 'root', gid: 5 },
    tree: FILES,
    result: 'fail',
  },
  groupEmpty: { params: { check: 'groupEmpty', group: 'shadow' }, tree: FILES, result: 'pass' },
  'groupEmpty, with members': {
    params: { check: 'groupEmpty', group: 'audio' },
    tree: group('audio:x:29:ann,bob'),
    result: 'fail',
    actual: 'ann, bob',
  },
  'groupEmpty, as a primary group': {
    params: { check: 'groupEmpty', group: 'ann' },
    tree: FILES,
    result: 'fail',
    actual: 'ann',
  },
  noEmptyPassword: { params: { check: 'noEmptyPassword' }, tree: FILES, result: 'pass' },
  'noEmptyPassword, with one': {
    params: { check: 'noEmptyPassword' },
    tree: shadow('bob::19000:0:99999:7:::'),
    result: 'fail',
    where: '/etc/shadow:4',
  },
  'allShadowed, and the hash is not said': {
    params: { check: 'allShadowed' },
    tree: passwd('bob:$1$secrethash:1001:1001::/:/bin/sh'),
    result: 'fail',
    actual: 'bob',
  },
  rootPasswordOrLocked: {
    params: { check: 'rootPasswordOrLocked' },
    tree: { ...FILES, 'etc/shadow': 'root::1:0:9:7:::\n' },
    result: 'fail',
  },
  hashMethods: { params: { check: 'hashMethods', allow: ['$y$', '$6$'] }, tree: FILES, result: 'pass' },
  'hashMethods, of old kinds': {
    params: { check: 'hashMethods', allow: ['$y$'] },
    tree: shadow('bob:$1$secret$hash:1:0:9:7:::\neve:secrethash:1:0:9:7:::'),
    result: 'fail',
    actual: 'bob: $1$, eve: DES',
  },
  uniqueUid: {
    params: { check: 'uniqueUid' },
    tree: passwd('bob:x:1000:1001::/:/bin/sh'),
    result: 'fail',
    actual: 'bob',
  },
  uniqueGid: { params: { check: 'uniqueGid' }, tree: group('bob:x:1000:'), result: 'fail', actual: 'bob' },
  uniqueUserName: { params: { check: 'uniqueUserName' }, tree: passwd('ann:x:1001:1001::/:/bin/sh'), result: 'fail' },
  uniqueGroupName: { params: { check: 'uniqueGroupName' }, tree: FILES, result: 'pass' },
  primaryGroupsExist: {
    params: { check: 'primaryGroupsExist' },
    tree: passwd('bob:x:1001:77::/:/bin/sh'),
    result: 'fail',
    actual: 'bob',
  },
  noPlusEntries: {
    params: { check: 'noPlusEntries', file: 'passwd' },
    tree: passwd('+::0:0:::'),
    result: 'fail',
    where: '/etc/passwd:4',
  },
  'noPlusEntries, where only the sign stands': {
    params: { check: 'noPlusEntries', file: 'group' },
    tree: { ...FILES, 'etc/group': `${GROUP}+\n` },
    result: 'fail',
    where: '/etc/group:5',
  },
  'uniqueUserName, where NIS is told of two': {
    params: { check: 'uniqueUserName' },
    tree: passwd('+\n+'),
    result: 'pass',
  },
  systemAccountsNoShell: { params: { check: 'systemAccountsNoShell', except: ['root'] }, tree: FILES, result: 'pass' },
  'systemAccountsNoShell, below the limit of login.defs': {
    params: { check: 'systemAccountsNoShell', except: ['root'] },
    tree: { ...FILES, 'etc/login.defs': 'UID_MIN 1001\n' },
    result: 'fail',
    actual: 'ann',
  },
  noShellAccountsLocked: {
    params: { check: 'noShellAccountsLocked', except: ['root'] },
    tree: { ...passwd('svc:x:900:1::/:/usr/sbin/nologin'), 'etc/shadow': 'svc:$6$a$b:1:0:9:7:::\n' },
    result: 'fail',
    actual: 'svc',
  },
  maxAge: { params: { check: 'maxAge', most: 365 }, tree: FILES, result: 'pass' },
  'maxAge, of years': { params: { check: 'maxAge', most: 90 }, tree: FILES, result: 'fail', actual: 'ann' },
  'maxAge, one day too long': { params: { check: 'maxAge', most: 364 }, tree: FILES, result: 'fail', actual: 'ann' },
  'maxAge, without a limit': {
    params: { check: 'maxAge', most: 365 },
    tree: shadow('bob:$6$a$b:19000:0::7:::\neve:$6$a$b:19000:0:-1:7:::'),
    result: 'fail',
    actual: 'bob, eve',
  },
  'maxAge, of an account without a password': {
    params: { check: 'maxAge', most: 365 },
    tree: shadow('bob:!:19000:0:99999:7:::'),
    result: 'pass',
  },
  'minAge, of exactly the least': { params: { check: 'minAge', least: 1 }, tree: FILES, result: 'pass' },
  'minAge, without one': {
    params: { check: 'minAge', least: 1 },
    tree: shadow('bob:$6$a$b:19000::365:7:::\neve:$6$a$b:19000:0:365:7:::'),
    result: 'fail',
    actual: 'bob, eve',
  },
  minAge: { params: { check: 'minAge', least: 2 }, tree: FILES, result: 'fail' },
  inactive: { params: { check: 'inactive', most: 45 }, tree: FILES, result: 'pass' },
  'inactive, of exactly the most': { params: { check: 'inactive', most: 30 }, tree: FILES, result: 'pass' },
  'inactive, one day too long': { params: { check: 'inactive', most: 29 }, tree: FILES, result: 'fail', actual: 'ann' },
  'inactive, without a limit': {
    params: { check: 'inactive', most: 45 },
    tree: shadow('bob:$6$a$b:19000:0:9:7:::\neve:$6$a$b:19000:0:9:7:-1::'),
    result: 'fail',
    actual: 'bob, eve',
  },
  'lastChangePast, of tomorrow, which has begun in other time zones': {
    params: { check: 'lastChangePast' },
    tree: shadow(`bob:$6$a$b:${TODAY + 1}:0:9:7:::`),
    result: 'pass',
  },
  'lastChangePast, of the day after tomorrow, or the next one': {
    params: { check: 'lastChangePast' },
    tree: shadow(`bob:$6$a$b:${TODAY + 3}:0:9:7:::`),
    result: 'fail',
    actual: 'bob',
  },
  lastChangePast: {
    params: { check: 'lastChangePast' },
    tree: shadow('bob:$6$a$b:90000:0:9:7:::'),
    result: 'fail',
    actual: 'bob',
  },
  absentUsers: { params: { check: 'absentUsers', users: ['ann'] }, tree: FILES, result: 'fail' },
  'absentUsers, who can not log in': {
    params: { check: 'absentUsers', users: ['daemon'] },
    tree: FILES,
    result: 'pass',
  },
  'absentUsers, whose password is locked': {
    params: { check: 'absentUsers', users: ['root'] },
    tree: FILES,
    result: 'pass',
  },
  'absentUsers, without a shadow file': {
    params: { check: 'absentUsers', users: ['root'] },
    tree: { 'etc/passwd': PASSWD },
    result: 'fail',
  },
  'absentUsers, with a shadow file that can not be read': {
    params: { check: 'absentUsers', users: ['root'] },
    tree: { 'etc/passwd': PASSWD, 'etc/shadow/x': '' },
    result: 'err',
    where: '/etc/shadow',
  },
  'absentUsers, who can not log in whatever the shadow file says': {
    params: { check: 'absentUsers', users: ['daemon'] },
    tree: { 'etc/passwd': PASSWD, 'etc/shadow/x': '' },
    result: 'pass',
  },
  'no shadow file': {
    params: { check: 'maxAge', most: 9 },
    tree: { 'etc/passwd': PASSWD },
    result: 'skip',
    reason: 'there is no /etc/shadow',
  },
  'a shadow file that is none': {
    params: { check: 'maxAge', most: 9 },
    tree: { 'etc/passwd': PASSWD, 'etc/shadow/x': '' },
    result: 'err',
  },
  homeExists: { params: { check: 'homeExists' }, tree: home({}), result: 'pass', asRoot: true },
  'homeExists, not': {
    params: { check: 'homeExists' },
    tree: { ...FILES, 'root/.profile': '' },
    result: 'fail',
    where: '/home/ann',
  },
  homeOwned: {
    params: { check: 'homeOwned' },
    tree: home({}, { uid: 1001 }),
    result: 'fail',
    actual: 'belongs to user 1001',
    asRoot: true,
  },
  homeMode: {
    params: { check: 'homeMode', modeMax: '0750' },
    tree: home({}, { mode: 0o755 }),
    result: 'fail',
    actual: /^0755/,
    asRoot: true,
  },
  dotFilesMode: {
    params: { check: 'dotFilesMode', modeForbid: '0022' },
    tree: home({ 'home/ann/.bashrc': { ...OWN, mode: 0o666 }, 'home/ann/data': { ...OWN, mode: 0o666 } }),
    result: 'fail',
    where: '/home/ann/.bashrc',
    asRoot: true,
  },
  dotFilesOwner: {
    params: { check: 'dotFilesOwner' },
    tree: home({ 'home/ann/.bashrc': { ...OWN, uid: 1001 } }),
    result: 'fail',
    asRoot: true,
  },
  homeFileAbsent: {
    params: { check: 'homeFileAbsent', name: '.netrc' },
    tree: home({ 'home/ann/.netrc': OWN }),
    result: 'fail',
    where: '/home/ann/.netrc',
    asRoot: true,
  },
  'homeFileMode, of a private key': {
    params: { check: 'homeFileMode', paths: ['.ssh', '.ssh/id_*'], modeForbid: '0022', privateForbid: '0077' },
    tree: home({
      'home/ann/.ssh/id_rsa': { ...OWN, mode: 0o644 },
      'home/ann/.ssh/id_rsa.pub': { ...OWN, mode: 0o644 },
    }),
    result: 'fail',
    where: '/home/ann/.ssh/id_rsa',
    asRoot: true,
  },
  'a home with more than is looked at': {
    params: { check: 'homeFileAbsent', name: '.netrc' },
    tree: home(Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`home/ann/.f${i}`, OWN]))),
    result: 'err',
    asRoot: true,
  },
  rootPath: {
    params: { check: 'rootPath', modeForbid: '0022' },
    tree: { 'etc/environment': 'PATH="/usr/bin:/bin"\n', 'usr/bin/x': '' },
    result: 'pass',
    asRoot: true,
  },
  'rootPath, with the folder one is in': {
    params: { check: 'rootPath', modeForbid: '0022' },
    tree: { 'root/.profile': 'export PATH=/bin:.:$PATH\n' },
    result: 'fail',
    actual: '. is not absolute',
    where: '/root/.profile:1',
    asRoot: true,
  },
  'rootPath, in the home that passwd gives root': {
    params: { check: 'rootPath', modeForbid: '0022' },
    tree: { 'etc/passwd': 'root:x:0:0::/home/root:/bin/sh\n', 'home/root/.profile': 'PATH=.\n' },
    result: 'fail',
    where: '/home/root/.profile:1',
  },
  'rootPath, with a folder that anyone may write': {
    params: { check: 'rootPath', modeForbid: '0022' },
    tree: { 'root/.profile': 'PATH=/opt/bin\n', 'opt/bin': { folder: true, mode: 0o777 } },
    result: 'fail',
    actual: '/opt/bin has 0777',
    asRoot: true,
  },
  'rootPath, with a folder below one that anyone may write': {
    params: { check: 'rootPath', modeForbid: '0022' },
    tree: {
      'root/.profile': 'PATH=/opt/x/bin\n',
      'opt/x/bin': { folder: true },
      'opt/x': { folder: true },
      opt: { folder: true, mode: 0o777 },
    },
    result: 'fail',
    actual: '/opt has 0777',
    asRoot: true,
  },
  'rootPath, with a folder below one of a user': {
    params: { check: 'rootPath', modeForbid: '0022' },
    tree: {
      'root/.profile': 'PATH=/home/ann/bin\n',
      'home/ann/bin': { folder: true },
      'home/ann': { folder: true, uid: 1000 },
    },
    result: 'fail',
    actual: '/home/ann belongs to user 1000',
    asRoot: true,
  },
  'rootPath, with folders below one in which only owners replace what exists, and one of the group root': {
    params: { check: 'rootPath', modeForbid: '0022' },
    tree: {
      'root/.profile': 'PATH=/tmp/bin:/opt/bin\n',
      'tmp/bin': { folder: true },
      tmp: { folder: true, mode: 0o1777 },
      'opt/bin': { folder: true },
      opt: { folder: true, mode: 0o775 },
    },
    result: 'pass',
    asRoot: true,
  },
  'rootPath, with a folder that anyone may create': {
    params: { check: 'rootPath', modeForbid: '0022' },
    tree: { 'root/.profile': 'PATH=/tmp/bin\n', tmp: { folder: true, mode: 0o1777 } },
    result: 'fail',
    actual: '/tmp has 1777',
    asRoot: true,
  },
  'too many lines to read': {
    params: { check: 'rootPath', modeForbid: '0022' },
    tree: { 'root/.profile': TOO_LONG },
    result: 'err',
  },
});

it('baseline: accounts looks at dot files whatever bytes their names have', function () {
  if (process.getuid?.() !== 0) return skip(this, 'needs root, to make files of others');
  return withTree(home({}), async (tree) => {
    const file = Buffer.from(`${tree.root}/home/ann/.\xff`, 'latin1');
    writeFileSync(file, '');
    chownSync(file, 1000, 1000);
    chmodSync(file, 0o666);
    const { result, where } = await accounts.evaluate({ check: 'dotFilesMode', modeForbid: '0022' }, tree.system());
    assert.deepEqual({ result, where }, { result: 'fail', where: '/home/ann/.\u{fffd}' });
  });
});
