import assert from 'node:assert/strict';
import * as v from 'valibot';
import { audit } from '../../../../src/agent/baseline/primitives/audit.ts';
import { describePrimitive, TOO_LONG } from './cases.ts';

const RULES = 'etc/audit/rules.d/own.rules';
const sudoers = { watch: ['/etc/sudoers', '/etc/sudoers.d'] };
const FILES = { 'etc/sudoers': '', 'etc/sudoers.d/x': '' };
const modules = { syscalls: ['init_module', 'delete_module'] };

describePrimitive(audit, {
  'both are watched, by either kind of rule': {
    params: sudoers,
    tree: { ...FILES, [RULES]: '-w /etc/sudoers -p wa -k x\n-a always,exit -F dir=/etc/sudoers.d/ -F perm=rwxa\n' },
    result: 'pass',
    where: '/etc/audit/rules.d/own.rules:1',
  },
  'one is watched for too little': {
    params: sudoers,
    tree: { ...FILES, [RULES]: '-w /etc/sudoers -p w\n-w /etc/sudoers.d -p wa\n' },
    result: 'fail',
    actual: 'without /etc/sudoers',
  },
  'what is not there needs no watch': {
    params: sudoers,
    tree: { 'etc/sudoers': '', [RULES]: '-w /etc/sudoers -p wa\n' },
    result: 'pass',
  },
  'nothing that could be watched': { params: sudoers, tree: {}, result: 'skip' },
  'a folder above is watched': { params: sudoers, tree: { ...FILES, [RULES]: '-w /etc -p wa\n' }, result: 'pass' },
  'a folder above, by a rule for the folder itself': {
    params: sudoers,
    tree: { ...FILES, [RULES]: '-a always,exit -F path=/etc -F perm=wa\n' },
    result: 'fail',
    actual: 'without /etc/sudoers, /etc/sudoers.d',
  },
  'a file by a rule for it, and a folder by none for all below it': {
    params: sudoers,
    tree: {
      ...FILES,
      [RULES]:
        '-a always,exit -F arch=b64 -F path=/etc/sudoers -F perm=wa -F key=x\n' +
        '-a always,exit -F path=/etc/sudoers.d -F perm=wa\n',
    },
    result: 'fail',
    actual: 'without /etc/sudoers.d',
  },
  'both are watched, by rules for all calls': {
    params: sudoers,
    tree: {
      ...FILES,
      [RULES]:
        '-a always,exit -S all -F path=/etc/sudoers -F perm=wa\n-a always,exit -F dir=/etc/sudoers.d -F perm=wa -S all\n',
    },
    result: 'pass',
  },
  'a call by a rule for all calls': {
    params: modules,
    tree: { [RULES]: '-a always,exit -F arch=b64 -S all -k x\n-a always,exit -F arch=b32 -S all -k x\n' },
    result: 'pass',
  },
  'a call by a rule for all calls that change something': {
    params: modules,
    tree: { [RULES]: '-a always,exit -S all -F perm=wa\n' },
    result: 'fail',
  },
  'what only one user does, and only without success': {
    params: sudoers,
    tree: {
      ...FILES,
      [RULES]:
        '-a always,exit -F dir=/etc/sudoers.d -F perm=wa -F auid=4711\n' +
        '-a always,exit -F path=/etc/sudoers -F perm=wa -F success=0\n',
    },
    result: 'fail',
    actual: 'without /etc/sudoers, /etc/sudoers.d',
  },
  'everything, but tasks are not audited': {
    params: sudoers,
    tree: { ...FILES, [RULES]: '-w / -p wa\n-a task,never\n' },
    result: 'fail',
    actual: 'a rule switches auditing off',
    where: '/etc/audit/rules.d/own.rules:2',
  },
  'everything, but no system call is audited': {
    params: modules,
    tree: { [RULES]: '-A never,exit\n-a always,exit -S init_module,delete_module\n' },
    result: 'fail',
    where: '/etc/audit/rules.d/own.rules:1',
  },
  'everything below the root': { params: sudoers, tree: { ...FILES, [RULES]: '-w / -p wa\n' }, result: 'pass' },
  'system calls of users': {
    params: modules,
    tree: {
      [RULES]: '-a always,exit -F arch=b64 -S init_module,delete_module -F auid>=1000 -F auid!=unset -F key=modules\n',
    },
    result: 'pass',
  },
  'system calls on one folder, and of one user': {
    params: modules,
    tree: { [RULES]: '-a always,exit -S init_module -F dir=/home\n-a always,exit -S delete_module -F auid=4711\n' },
    result: 'fail',
    actual: 'without init_module, delete_module',
  },
  'system calls, in several rules': {
    params: modules,
    tree: {
      'etc/audit/audit.rules':
        '-a always,exit -F arch=b64 -S init_module,finit_module\n-a exit,always -S delete_module\n',
    },
    result: 'pass',
  },
  'system calls of 32-bit programs only': {
    params: modules,
    tree: { [RULES]: '-a always,exit -F arch=b32 -S init_module,delete_module\n' },
    result: 'fail',
    actual: 'without init_module, delete_module',
  },
  'system calls of 64-bit programs, beside those of 32-bit ones': {
    params: modules,
    tree: {
      [RULES]:
        '-a always,exit -F arch=b32 -S init_module,delete_module\n' +
        '-a always,exit -F arch=b64 -S init_module,delete_module\n',
    },
    result: 'pass',
    where: '/etc/audit/rules.d/own.rules:2',
  },
  'a watch of 32-bit programs only': {
    params: { watch: ['/etc/sudoers'] },
    tree: { ...FILES, [RULES]: '-a always,exit -F arch=b32 -F path=/etc/sudoers -F perm=wa\n' },
    result: 'fail',
  },
  'a 32-bit system, with the rules for it': {
    params: modules,
    tree: { 'bin/sh': '\x7fELF\x01', [RULES]: '-a always,exit -F arch=b32 -S init_module,delete_module\n' },
    result: 'pass',
  },
  'a 32-bit system, with rules that its kernel does not take': {
    params: modules,
    tree: { 'bin/sh': '\x7fELF\x01', [RULES]: '-a always,exit -F arch=b64 -S init_module,delete_module\n' },
    result: 'fail',
  },
  'a rule that takes them out is none': {
    params: modules,
    tree: { [RULES]: '-a never,exit -S init_module,delete_module\n' },
    result: 'fail',
  },
  'only with a certain field': {
    params: { syscalls: ['execve'], fieldAny: ['-C uid!=euid'] },
    tree: { [RULES]: '-a always,exit -S execve -F auid>=1000\n#-a always,exit -S execve -C uid!=euid\n' },
    result: 'fail',
    actual: 'without execve',
  },
  'a flag': { params: { flag: '-e 2' }, tree: { [RULES]: '-D\n-e 2\n' }, result: 'pass' },
  'no rules at all': { params: { flag: '-e 2' }, tree: {}, result: 'fail' },
  'rules that are too long': { params: modules, tree: { [RULES]: TOO_LONG }, result: 'err' },
});

describe('baseline: audit, its remedy', () => {
  const remedy = (params: unknown) => audit.remedy(v.parse(audit.params, params));

  it('lists each rule separately, since a rules file has one rule per line', () =>
    assert.equal(
      remedy(sudoers),
      'Put each of these on a line of its own in a file of /etc/audit/rules.d, then run augenrules --load: ' +
        '"-w /etc/sudoers -p wa", "-w /etc/sudoers.d -p wa"',
    ));

  it('has the rules for 64-bit programs and for 32-bit ones', () =>
    assert.match(
      remedy({ syscalls: ['mount'] }),
      /: "-a always,exit -F arch=b64 -S mount", "-a always,exit -F arch=b32 -S mount"\. A 32-bit kernel/,
    ));

  it('names a single rule', () =>
    assert.equal(
      remedy({ flag: '-e 2' }),
      'Put this on a line of its own in a file of /etc/audit/rules.d, then run augenrules --load: "-e 2"',
    ));
});
