import { pam } from '../../../../src/agent/baseline/primitives/pam.ts';
import { describePrimitive, TOO_LONG } from './cases.ts';

const AUTH = 'etc/pam.d/common-auth';
const nullok = { of: 'stack', stacks: ['common-auth', 'system-auth'], module: 'pam_unix', argForbid: ['nullok'] };
const faillock = { of: 'stack', stacks: ['common-auth', 'system-auth'], type: 'auth', module: 'pam_faillock' };
const wheel = {
  of: 'stack',
  stacks: ['su'],
  type: 'auth',
  module: 'pam_wheel',
  control: ['required'],
  argAny: ['use_uid', 'group'],
};
const minlen = {
  of: 'setting',
  module: 'pam_pwquality',
  files: ['/etc/security/pwquality.conf', '/etc/security/pwquality.conf.d/*.conf'],
  keys: ['minlen'],
  want: { op: 'ge', value: 14 },
  default: 8,
};
const CONF = 'etc/security/pwquality.conf';

const faillockConf = { of: 'setting', module: 'pam_faillock', files: ['/etc/security/faillock.conf'] };
const deny = { ...faillockConf, keys: ['deny'], want: { op: 'range', value: [1, 5] }, default: 3 };
const unlock = { ...faillockConf, keys: ['unlock_time'], want: { op: 'geOrZero', value: 900 }, default: 600 };

describePrimitive(pam, {
  'a module without the argument': {
    params: nullok,
    tree: { [AUTH]: 'auth [success=1 default=ignore] pam_unix.so\n' },
    result: 'pass',
  },
  'a module with the argument, and no other argument said': {
    params: nullok,
    tree: { [AUTH]: '# x\nauth\t[success=1 default=ignore]\tpam_unix.so nullok passwd=secret\n' },
    result: 'fail',
    actual: '[success=1 default=ignore] pam_unix nullok',
    where: '/etc/pam.d/common-auth:2',
  },
  'a module that a stack includes by @include': {
    params: faillock,
    tree: { [AUTH]: '@include own\n', 'etc/pam.d/own': 'auth required pam_faillock.so preauth\n' },
    result: 'pass',
    where: '/etc/pam.d/own:1',
  },
  'an include of one type takes only that': {
    params: faillock,
    tree: { [AUTH]: 'account include own\n', 'etc/pam.d/own': 'auth required pam_faillock.so\n' },
    result: 'fail',
    actual: 'no pam_faillock',
  },
  'stacks that include one another for ever': {
    params: faillock,
    tree: { [AUTH]: '@include own\n', 'etc/pam.d/own': '@include common-auth\n' },
    result: 'fail',
  },
  'a line in two parts': {
    params: wheel,
    tree: { 'etc/pam.d/su': 'auth required \\\n  pam_wheel.so group=sudo\n' },
    result: 'pass',
  },
  'another control': {
    params: wheel,
    tree: { 'etc/pam.d/su': 'auth sufficient pam_wheel.so use_uid\n' },
    result: 'fail',
  },
  'no such stack': { params: wheel, tree: {}, result: 'skip', reason: 'there is no su in /etc/pam.d' },
  'not asked of a module that is the first': {
    params: { of: 'stack', stacks: ['common-auth'], module: 'pam_unix', argAny: ['use_authtok'], unlessFirst: true },
    tree: { [AUTH]: 'auth required pam_unix.so\n' },
    result: 'pass',
  },
  'a setting by its file': {
    params: minlen,
    tree: { [CONF]: '# minlen = 4\nminlen = 15\n' },
    result: 'pass',
    where: '/etc/security/pwquality.conf:2',
  },
  'a setting by its argument, which goes before the file': {
    params: minlen,
    tree: { [CONF]: 'minlen = 15\n', 'etc/pam.d/passwd': 'password required pam_pwquality.so minlen=6\n' },
    result: 'fail',
    actual: 'minlen 6',
  },
  'a setting without an equals sign, with a comment': {
    params: minlen,
    tree: { [CONF]: 'minlen 16 # characters\n' },
    result: 'pass',
    actual: 'minlen 16',
  },
  'a setting that is off, with a comment': {
    params: { ...minlen, keys: ['dictcheck'], want: { op: 'ne', value: 0 }, default: 1 },
    tree: { [CONF]: 'dictcheck=00# x\n' },
    result: 'fail',
  },
  'a time that never ends': {
    params: unlock,
    tree: { 'etc/security/faillock.conf': 'unlock_time = never\n' },
    result: 'pass',
    actual: 'unlock_time never',
  },
  'a unit, which the module does not know': {
    params: unlock,
    tree: { 'etc/security/faillock.conf': 'unlock_time = 15m\n' },
    result: 'fail',
    actual: 'unlock_time: not a number',
  },
  'of two lines of one module, the laxer one': {
    params: deny,
    tree: {
      'etc/pam.d/aaa': 'auth required pam_faillock.so deny=3\n',
      'etc/pam.d/sshd': 'auth required pam_faillock.so deny=3 deny=1000\n',
    },
    result: 'fail',
    actual: 'deny 1000',
    where: '/etc/pam.d/sshd:1',
  },
  'a line without the argument has the value of the file': {
    params: deny,
    tree: {
      'etc/pam.d/aaa': 'auth required pam_faillock.so deny=3\n',
      'etc/pam.d/sshd': 'auth required pam_faillock.so\n',
      'etc/security/faillock.conf': 'deny 100\n',
    },
    result: 'fail',
    actual: 'deny 100',
  },
  'lines that only end the count': {
    params: deny,
    tree: {
      'etc/pam.d/sshd':
        'auth required pam_faillock.so authfail deny=4\nauth sufficient pam_faillock.so authsucc\n' +
        'account required pam_faillock.so\n',
      'etc/security/faillock.conf': 'deny = 100\n',
    },
    result: 'pass',
    actual: 'deny 4',
  },
  'a file that an argument names': {
    params: deny,
    tree: {
      'etc/pam.d/sshd': 'auth required pam_faillock.so conf=/etc/own.conf\n',
      'etc/security/faillock.conf': 'deny = 3\n',
      'etc/own.conf': 'deny = 100\n',
    },
    result: 'fail',
    where: '/etc/own.conf:1',
  },
  'the first one of pwhistory.conf': {
    params: {
      of: 'setting',
      module: 'pam_pwhistory',
      files: ['/etc/security/pwhistory.conf'],
      keys: ['remember'],
      want: { op: 'ge', value: 24 },
      default: 10,
    },
    tree: { 'etc/security/pwhistory.conf': 'remember = 5\nremember = 24\n' },
    result: 'fail',
    actual: 'remember 5',
  },
  'a setting that is not set': { params: minlen, tree: { [CONF]: '' }, result: 'fail', actual: 'not set, so 8' },
  'the main file goes before its drop-ins': {
    params: minlen,
    tree: { [CONF]: 'minlen = 15\n', 'etc/security/pwquality.conf.d/a.conf': 'minlen = 6\n' },
    result: 'pass',
  },
  'a word alone': {
    params: { ...minlen, keys: ['enforce_for_root'], want: { op: 'flag' }, default: false },
    tree: { [CONF]: 'enforce_for_root # yes\n' },
    result: 'pass',
  },
  'a word that is not there': {
    params: { ...minlen, keys: ['enforce_for_root'], want: { op: 'flag' }, default: false },
    tree: { [CONF]: '# enforce_for_root\n' },
    result: 'fail',
  },
  'a file that is too long': { params: minlen, tree: { [CONF]: TOO_LONG }, result: 'err' },
});
