import assert from 'node:assert/strict';
import * as v from 'valibot';
import { config } from '../../../../src/agent/baseline/primitives/config.ts';
import { describePrimitive, paramsOf, TOO_LONG } from './cases.ts';

const sshd = (key: string, want: unknown, more: object = {}) => ({ syntax: 'sshd', keys: [key], want, ...more });
const noRoot = sshd('PermitRootLogin', { op: 'in', value: ['no'] }, { default: 'prohibit-password' });
const macs = sshd(
  'MACs',
  { op: 'noneOf', value: ['hmac-sha1'] },
  { default: 'hmac-sha2-256,hmac-sha1', defaultSince: '6.7' },
);
const SSHD = 'etc/ssh/sshd_config';
const refusing = paramsOf('cfg.mosquitto-anonymous');
const BROKER = 'etc/mosquitto/mosquitto.conf';

const storage = {
  syntax: 'ini',
  files: [
    '/etc/systemd/journald.conf',
    '/etc/systemd/journald.conf.d/*.conf',
    '/usr/lib/systemd/journald.conf.d/*.conf',
  ],
  section: 'Journal',
  key: 'Storage',
  want: { op: 'eq', value: 'persistent' },
  default: 'auto',
  ifMissing: 'default',
};
const llmnr = paramsOf('cfg.resolved-llmnr');
const umask = {
  syntax: 'space',
  files: ['/etc/login.defs'],
  key: 'UMASK',
  want: { op: 'umaskAtLeast', value: '027' },
  ifMissing: 'skip',
};
const icc = {
  syntax: 'json',
  files: ['/etc/docker/daemon.json'],
  key: 'icc',
  want: { op: 'eq', value: false },
  default: true,
  ifMissing: 'default',
};

describePrimitive(config, {
  'mosquitto: a default of its version': {
    params: refusing,
    tree: { [BROKER]: 'listener 1883\n' },
    result: 'fail',
    actual: 'not set',
  },
  'mosquitto: refuses anonymous clients whatever its version': {
    params: refusing,
    tree: { [BROKER]: 'include_dir /etc/mosquitto/conf.d\n', 'etc/mosquitto/conf.d/x.conf': 'allow_anonymous false\n' },
    result: 'pass',
    where: '/etc/mosquitto/conf.d/x.conf:1',
  },
  'mosquitto: one of two listeners lets everyone in': {
    params: refusing,
    tree: {
      [BROKER]:
        'per_listener_settings true\nlistener 1883\nallow_anonymous true\nlistener 8883\nallow_anonymous false\n',
    },
    result: 'fail',
    actual: 'true',
    where: '/etc/mosquitto/mosquitto.conf:3',
  },
  'mosquitto: a listener’s own setting, since version 2.1': {
    params: refusing,
    tree: { [BROKER]: 'allow_anonymous false\nlistener 1883\nlistener_allow_anonymous 1\n' },
    result: 'fail',
    actual: '1',
  },
  'mosquitto: a folder that is included from elsewhere': {
    params: refusing,
    tree: {
      [BROKER]: 'allow_anonymous false\ninclude_dir /data/broker\n',
      'data/broker/own.conf': 'allow_anonymous true\n',
    },
    result: 'fail',
    where: '/data/broker/own.conf:1',
  },
  'mosquitto: what is not included, or is no *.conf': {
    params: refusing,
    tree: {
      [BROKER]: 'allow_anonymous 0\ninclude_dir /data\n',
      'data/old.conf~': 'allow_anonymous true\n',
      'etc/mosquitto/conf.d/x.conf': 'allow_anonymous true\n',
    },
    result: 'pass',
  },
  'a default that a comment shows': {
    params: llmnr,
    tree: { 'usr/lib/systemd/resolved.conf': '# LLMNR=yes\n[Resolve]\n#LLMNR=no\n' },
    result: 'pass',
    actual: 'not set, so no',
    where: '/usr/lib/systemd/resolved.conf:3',
  },
  'a default that a comment shows, which is not the wanted one': {
    params: llmnr,
    tree: { 'etc/systemd/resolved.conf': '[Resolve]\n#DNS=\n#LLMNR=yes\n' },
    result: 'fail',
    actual: 'not set, so yes',
  },
  'a default that no comment shows': {
    params: llmnr,
    tree: { 'etc/systemd/resolved.conf': '[Resolve]\nDNS=192.0.2.1\n' },
    result: 'err',
    reason: 'not set, and the default of this build is not known',
  },
  'a setting, whatever the default is': {
    params: llmnr,
    tree: { 'etc/systemd/resolved.conf': '[Resolve]\n#LLMNR=no\nLLMNR=yes\n' },
    result: 'fail',
    actual: 'yes',
  },
  'mosquitto: a folder below one that nobody knows': {
    params: refusing,
    tree: { [BROKER]: 'allow_anonymous false\ninclude_dir conf.d\n' },
    result: 'err',
    where: '/etc/mosquitto/mosquitto.conf:2',
  },
  'mosquitto: an included file that can not be read': {
    params: refusing,
    tree: { [BROKER]: 'allow_anonymous false\ninclude_dir /data\n', 'data/x.conf': TOO_LONG },
    result: 'err',
  },
  'mosquitto: no file': { params: refusing, tree: {}, result: 'skip' },
  'sshd: of two values the first': {
    params: noRoot,
    tree: { [SSHD]: 'PermitRootLogin no\nPermitRootLogin yes\n' },
    result: 'pass',
    actual: 'no',
    where: '/etc/ssh/sshd_config:1',
  },
  'sshd: a drop-in that is included before': {
    params: noRoot,
    tree: {
      [SSHD]: 'Include /etc/ssh/sshd_config.d/*.conf\nPermitRootLogin no\n',
      'etc/ssh/sshd_config.d/10-own.conf': 'permitrootlogin yes\n',
    },
    result: 'fail',
    actual: 'yes',
    where: '/etc/ssh/sshd_config.d/10-own.conf:1',
  },
  'sshd: a drop-in that is included by a set of characters': {
    params: noRoot,
    tree: {
      [SSHD]: 'Include /etc/ssh/sshd_config.d/[0-9]*[!~].conf\nPermitRootLogin no\n',
      'etc/ssh/sshd_config.d/10-own.conf': 'PermitRootLogin yes\n',
      'etc/ssh/sshd_config.d/05-old~.conf': 'PermitRootLogin no\n',
      'etc/ssh/sshd_config.d/a.conf': 'PermitRootLogin no\n',
    },
    result: 'fail',
    where: '/etc/ssh/sshd_config.d/10-own.conf:1',
  },
  'sshd: the second of two quoted paths that are included': {
    params: noRoot,
    tree: {
      [SSHD]: `Include "/etc/ssh/a" '/etc/ssh/own dir/b' # both\nPermitRootLogin no\n`,
      'etc/ssh/own dir/b': 'PermitRootLogin "yes"\n',
    },
    result: 'fail',
    actual: 'yes',
    where: '/etc/ssh/own dir/b:1',
  },
  'sshd: a class of characters by name': {
    params: noRoot,
    tree: { [SSHD]: 'Include /etc/ssh/[[:digit:]]*.conf\nPermitRootLogin no\n' },
    result: 'err',
    reason: /not understood/,
  },
  'sshd: an included path with a backslash': {
    params: noRoot,
    tree: { [SSHD]: 'Include /etc/ssh/own\\*.conf\nPermitRootLogin no\n' },
    result: 'err',
    reason: /sshd_config:1 includes files in a way that is not understood/,
  },
  'sshd: an included path whose quote has no end': {
    params: noRoot,
    tree: { [SSHD]: 'Include "/etc/ssh/own\nPermitRootLogin no\n' },
    result: 'err',
  },
  'sshd: what does not hold for all is no value for all': {
    params: noRoot,
    tree: { [SSHD]: 'Match User ann\nPermitRootLogin no\n' },
    result: 'fail',
    actual: 'not set, so prohibit-password',
  },
  'sshd: a value that is worse for some': {
    params: noRoot,
    tree: { [SSHD]: 'PermitRootLogin no\nMatch Address 10.0.0.0/8\n  PermitRootLogin yes\n' },
    result: 'fail',
    actual: 'yes (Match Address 10.0.0.0/8)',
    where: '/etc/ssh/sshd_config:3',
  },
  'sshd: what is taken from the default': { params: macs, tree: { [SSHD]: 'MACs -hmac-sha1*\n' }, result: 'pass' },
  'sshd: what is added to the default': { params: macs, tree: { [SSHD]: 'MACs +hmac-md5\n' }, result: 'fail' },
  'sshd: a default of a later version than the one that is installed': {
    params: macs,
    tree: {
      [SSHD]: '',
      'var/lib/dpkg/status': 'Package: openssh-server\nStatus: install ok installed\nVersion: 1:6.0p1-4\n',
    },
    result: 'err',
    reason: /the default of OpenSSH 1:6\.0p1-4 is not known/,
  },
  'sshd: a time in words': {
    params: sshd('LoginGraceTime', { op: 'range', value: [1, 60] }, { default: '120' }),
    tree: { [SSHD]: 'LoginGraceTime 1m\n' },
    result: 'pass',
  },
  'sshd: three limits, of which one is too high': {
    params: sshd('MaxStartups', { op: 'startups', value: [10, 30, 60] }, { default: '10:30:100' }),
    tree: { [SSHD]: 'MaxStartups 10:30:100\n' },
    result: 'fail',
  },
  'sshd: one of several': {
    params: { syntax: 'sshd', keys: ['AllowUsers', 'AllowGroups'], want: { op: 'set' } },
    tree: { [SSHD]: 'AllowGroups staff\n' },
    result: 'pass',
  },
  'ini: the default, when there is no file': { params: storage, tree: {}, result: 'fail', actual: 'not set, so auto' },
  'ini: the last drop-in, and of two of the same name the one in /etc': {
    params: storage,
    tree: {
      'etc/systemd/journald.conf': '[Journal]\nStorage=none\n',
      'etc/systemd/journald.conf.d/50-a.conf': '[Journal]\nStorage=persistent\n',
      'usr/lib/systemd/journald.conf.d/50-a.conf': '[Journal]\nStorage=volatile\n',
      'usr/lib/systemd/journald.conf.d/40-b.conf': '[Journal]\nStorage=volatile\n',
    },
    result: 'pass',
    where: '/etc/systemd/journald.conf.d/50-a.conf:2',
  },
  'ini: a drop-in that is masked': {
    params: storage,
    tree: {
      'etc/systemd/journald.conf': '[Journal]\nStorage=persistent\n',
      'etc/systemd/journald.conf.d/50-a.conf': { link: '/dev/null' },
      'dev/null': { folder: true },
      'usr/lib/systemd/journald.conf.d/50-a.conf': '[Journal]\nStorage=volatile\n',
    },
    result: 'pass',
    where: '/etc/systemd/journald.conf:2',
  },
  'ini: the same key in another section': {
    params: storage,
    tree: { 'etc/systemd/journald.conf': '[Upload]\nStorage=persistent\n#Storage=persistent\n' },
    result: 'fail',
  },
  'space: a stricter umask': {
    params: umask,
    tree: { 'etc/login.defs': '# x\nUMASK\t077\n' },
    result: 'pass',
    where: '/etc/login.defs:2',
  },
  'space: a laxer umask': { params: umask, tree: { 'etc/login.defs': 'UMASK 022\n' }, result: 'fail', actual: '022' },
  'space: no umask at all': {
    params: umask,
    tree: { 'etc/login.defs': 'UMASK lots\n' },
    result: 'fail',
    actual: /not a valid value/,
  },
  'space: no file': { params: umask, tree: {}, result: 'skip' },
  'equals: quoted, with blanks': {
    params: {
      syntax: 'equals',
      files: ['/etc/audit/auditd.conf'],
      key: 'max_log_file_action',
      want: { op: 'in', value: ['keep_logs', 'rotate'] },
      ifMissing: 'skip',
    },
    tree: { 'etc/audit/auditd.conf': 'max_log_file_action = "ROTATE"\n' },
    result: 'pass',
  },
  'rsyslog: in both of its languages, the last one': {
    params: {
      syntax: 'rsyslog',
      files: ['/etc/rsyslog.conf', '/etc/rsyslog.d/*.conf'],
      key: 'FileCreateMode',
      want: { op: 'modeMax', value: '0640' },
      ifMissing: 'fail',
    },
    tree: { 'etc/rsyslog.conf': '$FileCreateMode 0644\nmodule(load="builtin:omfile" fileCreateMode="0600")\n' },
    result: 'pass',
    where: '/etc/rsyslog.conf:2',
  },
  'json: a member': { params: icc, tree: { 'etc/docker/daemon.json': '{"icc": false}' }, result: 'pass' },
  'json: the default': {
    params: icc,
    tree: { 'etc/docker/daemon.json': '{}' },
    result: 'fail',
    actual: 'not set, so true',
  },
  'json: a list without such an item': {
    params: { ...icc, key: 'hosts', want: { op: 'noneMatch', value: '^tcp://' }, default: [] },
    tree: { 'etc/docker/daemon.json': '{"hosts": ["unix:///run/docker.sock", "tcp://0.0.0.0:2375"]}' },
    result: 'fail',
  },
  'json: none': {
    params: icc,
    tree: { 'etc/docker/daemon.json': '{"secret": ' },
    result: 'err',
    reason: 'is not valid JSON',
  },
  'a file that is too long': { params: umask, tree: { 'etc/login.defs': TOO_LONG }, result: 'err' },
});

describe('baseline: config, its remedy', () => {
  const remedy = (params: unknown) => config.remedy(v.parse(config.params, params));
  for (const [want, said] of [
    [{ op: 'ne', value: 'none' }, 'set Banner to a value other than none'],
    [{ op: 'set' }, 'give Banner a value'],
    [{ op: 'flag' }, 'add Banner'],
    [{ op: 'empty' }, 'remove Banner'],
    [{ op: 'noneOf', value: ['a', 'b'] }, 'set Banner to a list without a, b'],
    [{ op: 'noneMatch', value: '^tcp://' }, 'set Banner to a list without items that match ^tcp://'],
    [{ op: 'in', value: ['no', 'local'] }, 'set Banner to no'],
    [{ op: 'range', value: [1, 60] }, 'set Banner to 60'],
    [{ op: 'startups', value: [10, 30, 60] }, 'set Banner to 10:30:60'],
    [{ op: 'umaskAtLeast', value: '027' }, 'set Banner to 027'],
  ] as const) {
    it(`is a sentence for the operator ${want.op}`, () =>
      assert.equal(remedy(sshd('Banner', want)), `In /etc/ssh/sshd_config, ${said}.`));
  }

  it('names the section', () =>
    assert.equal(
      remedy({ ...storage, want: { op: 'set' } }),
      'In /etc/systemd/journald.conf, give Storage a value in [Journal].',
    ));
});
