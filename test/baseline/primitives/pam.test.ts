import { pam } from '../../../src/baseline/primitives/pam.ts';
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
  'a setting that is not set': { params: minlen, tree: { [CONF]: '' }, result: 'fail', actual: 'not set, so 8' },
  'the main file goes before its drop-ins': {
    params: minlen,
    tree: { [CONF]: 'minlen = 15\n', 'etc/security/pwquality.conf.d/a.conf': 'minlen = 6\n' },
    result: 'pass',
  },
  'a word alone': {
    params: { ...minlen, keys: ['enforce_for_root'], want: { op: 'flag' }, default: false },
    tree: { [CONF]: 'enforce_for_root\n' },
    result: 'pass',
  },
  'a word that is not there': {
    params: { ...minlen, keys: ['enforce_for_root'], want: { op: 'flag' }, default: false },
    tree: { [CONF]: '# enforce_for_root\n' },
    result: 'fail',
  },
  'a file that is too long': { params: minlen, tree: { [CONF]: TOO_LONG }, result: 'err' },
});
