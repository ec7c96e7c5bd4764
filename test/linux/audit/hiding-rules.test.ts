import assert from 'node:assert/strict';
import { excludedTypes, hiddenBy } from '../../../src/linux/audit/hiding-rules.ts';
import { CWD, EOE, EXECVE, PATH, SYSCALL } from '../../../src/linux/audit/reassembler.ts';
import { decodeRule, excludeRule, memoRule, syscallRules } from '../../../src/linux/audit/rules.ts';
import { abisOf } from '../../../src/linux/audit/syscalls.ts';
import {
  ALWAYS,
  EQUAL,
  EXCLUDE,
  exclusionOf,
  foreignRule,
  GREATER_OR_EQUAL,
  MSGTYPE,
  NOT_EQUAL,
  TASK,
  TASK_NEVER,
  TASK_NEVER_OF_ONE,
  UID,
} from './foreign-rule.ts';

const USER_LOGIN = 1_112;
const decoded = (rules: readonly Buffer[]) => rules.map(decodeRule).filter((rule) => rule !== undefined);

describe('Rules of others', () => {
  for (const [what, rules, isAll, reason] of [
    ['-a never,task', [TASK_NEVER], true, /hide all processes that are started \(-a never,task\)\.$/],
    ['-a never,task -F uid=1000', [TASK_NEVER_OF_ONE], false, /hide some processes/],
    ['one about SYSCALL', [exclusionOf(SYSCALL)], true, /of the types SYSCALL \(-a always,exclude\)\.$/],
    [
      'others about records',
      [exclusionOf(USER_LOGIN), exclusionOf(EXECVE)],
      false,
      /hide records of the types EXECVE, USER_LOGIN/,
    ],
    [
      'one about many types',
      [foreignRule(EXCLUDE, ALWAYS, [MSGTYPE, GREATER_OR_EQUAL, EXECVE])],
      false,
      /types EXECVE, URINGOP \(/,
    ],
    [
      'one about all but one type',
      [foreignRule(EXCLUDE, ALWAYS, [MSGTYPE, NOT_EQUAL, SYSCALL])],
      false,
      /EXECVE, SOCK/,
    ],
    ['one about all records of one user', [foreignRule(EXCLUDE, ALWAYS, [UID, EQUAL, 1_000])], false, /some processes/],
    [
      'several kinds',
      [TASK_NEVER_OF_ONE, exclusionOf(EXECVE)],
      false,
      /some processes .*, and records of the types EXECVE/,
    ],
  ] as const) {
    it(`hide what is needed: ${what}`, () => {
      const hidden = hiddenBy(decoded(rules));
      assert.equal(hidden?.isAll, isAll);
      assert.equal(hidden.reason.id, 'AUDIT_UNAVAILABLE');
      assert.match(hidden.reason.message, reason);
      assert.match(hidden.reason.remedy, /auditctl -l.*augenrules --load/);
    });
  }

  it('hide nothing that is needed', () => {
    const harmless = [
      foreignRule(TASK, ALWAYS),
      ...[CWD, EOE, PATH].map(exclusionOf),
      foreignRule(EXCLUDE, ALWAYS, [MSGTYPE, EQUAL, CWD], [UID, EQUAL, 1_000]),
    ];
    assert.equal(hiddenBy(decoded(harmless)), undefined);
    assert.equal(hiddenBy([]), undefined);
  });

  it('are not taken for the agent’s', () => {
    const own = [...syscallRules([{ syscalls: ['execve'] }], abisOf('x86_64')), excludeRule(EXECVE), memoRule('x')];
    assert.equal(hiddenBy(decoded(own)), undefined);
  });

  it('exclude what no start needs to have then', () => {
    assert.deepEqual(excludedTypes(decoded([exclusionOf(EOE), TASK_NEVER])), new Set());
    assert.deepEqual(excludedTypes(decoded([foreignRule(EXCLUDE, ALWAYS, [UID, EQUAL, 1_000])])), new Set());
    assert.deepEqual(excludedTypes(decoded([exclusionOf(EOE), exclusionOf(CWD)])), new Set([CWD]));
    const ofOne = foreignRule(EXCLUDE, ALWAYS, [MSGTYPE, EQUAL, EXECVE], [UID, EQUAL, 1_000]);
    assert.deepEqual(excludedTypes(decoded([ofOne])), new Set([EXECVE]));
  });
});
