import assert from 'node:assert/strict';
import { excludedTypes, hiddenBy } from '../../../../src/agent/linux/audit/hiding-rules.ts';
import { CWD, EOE, EXECVE, PATH, SYSCALL } from '../../../../src/agent/linux/audit/reassembler.ts';
import { decodeRule, excludeRule, memoRule, ringRules, syscallRules } from '../../../../src/agent/linux/audit/rules.ts';
import { abisOf } from '../../../../src/agent/linux/audit/syscalls.ts';
import {
  ALWAYS,
  ARCH,
  aboutCalls,
  EQUAL,
  EXCLUDE,
  EXIT,
  exclusionOf,
  foreignRule,
  GREATER_OR_EQUAL,
  MSGTYPE,
  NEVER,
  NOT_EQUAL,
  TASK,
  TASK_NEVER,
  TASK_NEVER_OF_ONE,
  UID,
  URING_EXIT,
  USER,
} from './foreign-rule.ts';

const USER_LOGIN = 1_112;
const decoded = (rules: readonly Buffer[]) => rules.map(decodeRule).filter((rule) => rule !== undefined);

describe('HidingRules', () => {
  for (const [what, rules, isAll, reason] of [
    ['-a never,task', [TASK_NEVER], true, /hide all processes that are started \(-a never,task\)\.$/],
    ['-a never,task -F uid=1000', [TASK_NEVER_OF_ONE], false, /hide some processes/],
    ['one about SYSCALL', [exclusionOf(SYSCALL)], true, /of the types SYSCALL \(-a always,exclude or never,user\)\.$/],
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
      /records of the types EXECVE .*, and some processes/,
    ],
  ] as const) {
    it(`finds needed events hidden: ${what}`, () => {
      const hidden = hiddenBy(decoded(rules));
      assert.equal(hidden?.isAll, isAll);
      assert.equal(hidden.reason.id, 'AUDIT_UNAVAILABLE');
      assert.match(hidden.reason.message, reason);
      assert.match(hidden.reason.remedy, /auditctl -l.*augenrules --load/);
    });
  }

  it('finds nothing hidden by unrelated rules', () => {
    const harmless = [
      foreignRule(TASK, ALWAYS),
      ...[CWD, EOE, PATH].map(exclusionOf),
      foreignRule(EXCLUDE, ALWAYS, [MSGTYPE, EQUAL, CWD], [UID, EQUAL, 1_000]),
    ];
    assert.equal(hiddenBy(decoded(harmless)), undefined);
    assert.equal(hiddenBy([]), undefined);
  });

  describe('for rules about system calls', () => {
    const abis = abisOf('x86_64');
    const [b64 = assert.fail(), b32 = assert.fail()] = abis;
    const { execve = assert.fail(), execveat = assert.fail(), connect = assert.fail() } = b64.syscalls;
    const ADJTIMEX = 159;
    const never = (...conditions: readonly (readonly [number, number, number])[]) =>
      foreignRule(EXIT, NEVER, ...conditions);
    const own = syscallRules([{ syscalls: ['execve', 'execveat', 'connect'] }], abis);
    const hiddenIn = (rules: readonly Buffer[], needed?: (call: string) => boolean) =>
      hiddenBy(decoded(rules), needed, abis);

    for (const [what, rule, isAll, reason] of [
      [
        '-a never,exit',
        aboutCalls(never()),
        true,
        /calls execve, .*connect.* of b64 \(-a never,exit\), and .* of b32 /,
      ],
      ['-S execve', aboutCalls(never([ARCH, EQUAL, b64.arch]), execve), true, /hide the system calls execve of b64 \(/],
      [
        '-S connect',
        aboutCalls(never([ARCH, EQUAL, b64.arch]), connect),
        false,
        /hide the system calls connect of b64 \(/,
      ],
      ['-F arch=b32', aboutCalls(never([ARCH, EQUAL, b32.arch])), false, /hide the system calls execve, .* of b32 \(/],
      ['-F uid=1000', aboutCalls(never([UID, EQUAL, 1_000])), false, /hide some processes or files/],
    ] as const) {
      it(`finds calls hidden by a rule before the agent’s rules: ${what}`, () => {
        for (const rules of [[rule], [rule, ...own]]) {
          const hidden = hiddenIn(rules);
          assert.equal(hidden?.isAll, isAll);
          assert.match(hidden.reason.message, reason);
        }
      });

      it(`finds nothing hidden by a rule after the agent’s rules: ${what}`, () => {
        const isOwn = (call: string) => ['execve', 'execveat', 'connect'].includes(call);
        assert.equal(hiddenIn([...own, rule], isOwn), undefined);
      });
    }

    it('finds nothing hidden by a rule after one that always records the call', () => {
      const always = aboutCalls(foreignRule(EXIT, ALWAYS), execve);
      const ofOne = aboutCalls(foreignRule(EXIT, ALWAYS, [UID, EQUAL, 1_000]), execve);
      const rule = aboutCalls(never(), execve);
      assert.equal(hiddenIn([always, rule]), undefined);
      assert.equal(hiddenIn([ofOne, rule])?.isAll, true);
    });

    it('reports audit as usable when only a rare way to start a program is hidden', () => {
      assert.equal(hiddenIn([aboutCalls(never(), execveat)])?.isAll, false);
    });

    it('finds nothing hidden by rules about calls that the agent does not audit', () => {
      assert.equal(hiddenIn([aboutCalls(never([ARCH, EQUAL, b64.arch]), ADJTIMEX)]), undefined);
      assert.equal(
        hiddenIn([aboutCalls(never(), connect)], (call) => call === 'execve'),
        undefined,
      );
      assert.equal(hiddenIn([aboutCalls(foreignRule(EXIT, ALWAYS))]), undefined);
    });

    it('finds connections by io_uring hidden', () => {
      const rule = aboutCalls(foreignRule(URING_EXIT, NEVER));
      assert.match(hiddenIn([rule])?.reason.message ?? '', /hide connections by io_uring \(-a never,io_uring\)/);
      const ring = ringRules([{ syscalls: [], ringOperations: ['connect'] }]);
      assert.equal(hiddenIn([...ring, rule]), undefined);
    });
  });

  it('finds records written by programs hidden', () => {
    assert.match(hiddenBy(decoded([foreignRule(USER, NEVER)]))?.reason.message ?? '', /of the types USER_.*USER_LOGIN/);
    assert.equal(hiddenBy(decoded([foreignRule(USER, NEVER, [UID, EQUAL, 1_000])])), undefined); // cron's, mostly
  });

  it('does not mistake foreign rules for the agent’s', () => {
    const own = [...syscallRules([{ syscalls: ['execve'] }], abisOf('x86_64')), excludeRule(EXECVE), memoRule('x')];
    assert.equal(hiddenBy(decoded(own)), undefined);
  });

  it('lists the record types that foreign rules exclude from starts', () => {
    assert.deepEqual(excludedTypes(decoded([exclusionOf(EOE), TASK_NEVER])), new Set());
    assert.deepEqual(excludedTypes(decoded([foreignRule(EXCLUDE, ALWAYS, [UID, EQUAL, 1_000])])), new Set());
    assert.deepEqual(excludedTypes(decoded([exclusionOf(EOE), exclusionOf(CWD)])), new Set([CWD]));
    const ofOne = foreignRule(EXCLUDE, ALWAYS, [MSGTYPE, EQUAL, EXECVE], [UID, EQUAL, 1_000]);
    assert.deepEqual(excludedTypes(decoded([ofOne])), new Set([EXECVE]));
  });
});
