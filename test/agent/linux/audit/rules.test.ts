import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  decodeRule,
  excludeRule,
  memoIn,
  memoRule,
  ringRules,
  syscallRules,
} from '../../../../src/agent/linux/audit/rules.ts';
import {
  decodeStatus,
  encodeStatus,
  formatSettings,
  parseSettings,
  RUNNING,
  restore,
} from '../../../../src/agent/linux/audit/status.ts';
import { abisOf, nameCall } from '../../../../src/agent/linux/audit/syscalls.ts';
import { fuzzRuns } from '../../../fuzz.ts';

/** The words of a rule that aren't zero, by their place, and its strings. */
const dump = (rule: Buffer): string => {
  const words = Array.from({ length: 260 }, (_, index) => [index, rule.readUInt32LE(index * 4)] as const);
  const set = words.filter(([, word]) => word !== 0).map(([index, word]) => `${index}:${word.toString(16)}`);
  return [...set, rule.toString('utf8', 1_040)].join(' ');
};

const EXECS = [{ syscalls: ['execve', 'execveat'] }];

describe('syscallRules', () => {
  /* As auditctl makes them of `-a always,exit -F arch=b64 -S execve,execveat -k vakt`: list 4, action 2, two fields;
   * mask words 3 + (59 >> 5) and 3 + (322 >> 5); fields at 67, values at 131, operators at 195; buflen at 259. */
  it('returns one rule for each ABI', () => {
    assert.deepEqual(syscallRules(EXECS, abisOf('x86_64')).map(dump), [
      '0:4 1:2 2:2 4:8000000 13:4 67:b 68:d2 131:c000003e 132:4 195:40000000 196:40000000 259:4 vakt',
      '0:4 1:2 2:2 3:800 14:40 67:b 68:d2 131:40000003 132:4 195:40000000 196:40000000 259:4 vakt',
    ]);
    assert.deepEqual(syscallRules(EXECS, abisOf('aarch64')).map(dump), [
      '0:4 1:2 2:2 9:20000000 11:2000000 67:b 68:d2 131:c00000b7 132:4 195:40000000 196:40000000 259:4 vakt',
      '0:4 1:2 2:2 3:800 15:8 67:b 68:d2 131:40000028 132:4 195:40000000 196:40000000 259:4 vakt',
    ]);
    assert.equal(syscallRules(EXECS, abisOf('armv7l')).length, 1);
  });

  it('omits calls that an ABI does not have', () => {
    assert.equal(syscallRules([{ syscalls: ['socketcall'] }], abisOf('x86_64')).length, 1);
    assert.equal(syscallRules([{ syscalls: ['nonsense'] }], abisOf('x86_64')).length, 0);
    assert.equal(syscallRules([], abisOf('x86_64')).length, 0);
  });

  /* As `-a always,exit -F arch=b64 -S connect -F saddr_fam=2 -k vakt` and `… -F success=1 -F a0=10 …`: the field numbers
   * are AUDIT_SADDR_FAM (113), AUDIT_SUCCESS (104) and AUDIT_ARG0 (200). */
  it('returns another rule for each set of conditions', () => {
    const rules = [
      { syscalls: ['connect'], where: { saddr_fam: 2 } },
      { syscalls: ['accept'], where: { success: 1 as const } },
      { syscalls: ['accept4'], where: { success: 1 as const } },
      { syscalls: ['socket'], where: { a0: 10, success: 1 as const } },
    ];
    const [abi] = abisOf('x86_64');
    assert.deepEqual(syscallRules(rules, abi === undefined ? [] : [abi]).map(dump), [
      '0:4 1:2 2:3 4:400 67:b 68:71 69:d2 131:c000003e 132:2 133:4 195:40000000 196:40000000 197:40000000 259:4 vakt',
      '0:4 1:2 2:3 4:800 12:1 67:b 68:68 69:d2 131:c000003e 132:1 133:4 195:40000000 196:40000000 197:40000000 259:4 vakt',
      '0:4 1:2 2:4 4:200 67:b 68:68 69:c8 70:d2 131:c000003e 132:1 133:a 134:4 195:40000000 196:40000000 197:40000000 198:40000000 259:4 vakt',
    ]);
  });

  it('returns the same rules for equivalent requests', () => {
    const together = syscallRules([{ syscalls: ['execve', 'connect'] }], abisOf('x86_64'));
    const apart = syscallRules([{ syscalls: ['connect'] }, { syscalls: ['execve', 'connect'] }], abisOf('x86_64'));
    assert.deepEqual(together, apart);
  });

  /* As `-a always,io_uring -S connect -F saddr_fam=10 -k vakt`: list 7, whose mask has a bit for IORING_OP_CONNECT (16). */
  it('requests operations of io_uring', () => {
    const rules = [
      { syscalls: ['connect'], ringOperations: ['connect' as const], where: { saddr_fam: 10 } },
      { syscalls: ['accept'] },
    ];
    assert.deepEqual(ringRules(rules).map(dump), [
      '0:7 1:2 2:2 3:10000 67:71 68:d2 131:a 132:4 195:40000000 196:40000000 259:4 vakt',
    ]);
    assert.deepEqual(
      ringRules(rules).map((rule) => decodeRule(rule)?.ours),
      [true],
    );
  });

  it('excludes types of records', () => {
    assert.equal(dump(excludeRule(1_302)), '0:5 1:2 2:2 67:c 131:516 132:76616b74 195:40000000 196:30000000 ');
  });

  it("recognises the agent's rules by key, mark or memo", () => {
    const [calls = Buffer.alloc(0)] = syscallRules(EXECS, abisOf('x86_64'));
    const foreign = Buffer.from(calls);
    foreign.write('vokt', 1_040);
    assert.deepEqual(
      [calls, excludeRule(1_302), memoRule('x'), foreign].map((rule) => decodeRule(rule)?.ours),
      [true, true, true, false],
    );
    assert.equal(decodeRule(foreign)?.key, 'vokt');
  });

  it('stores a memo in a rule', () => {
    const rule = decodeRule(memoRule('found enabled=0'));
    assert.equal(rule === undefined ? undefined : memoIn(rule), 'found enabled=0');
    const other = decodeRule(syscallRules(EXECS, abisOf('x86_64'))[0] ?? Buffer.alloc(0));
    assert.equal(other === undefined ? '' : memoIn(other), undefined);
  });

  it('finds the key after other strings', () => {
    // As of `-a always,exit -F exe=/bin/x -F arch=b64 -k vakt`.
    const rule = Buffer.concat([syscallRules(EXECS, abisOf('x86_64'))[0] ?? Buffer.alloc(0), Buffer.alloc(6)]);
    rule.writeUInt32LE(112, 67 * 4);
    rule.writeUInt32LE(6, 131 * 4);
    rule.write('/bin/xvakt', 1_040);
    assert.equal(decodeRule(rule)?.key, 'vakt');
  });

  it('rejects invalid rules without throwing', () => {
    assert.equal(decodeRule(Buffer.alloc(1_039)), undefined);
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1_000, maxLength: 1_100 }), (bytes) => {
        decodeRule(Buffer.from(bytes));
      }),
      { numRuns: fuzzRuns(20_000) },
    );
  });
});

describe('nameCall', () => {
  it('names system calls by architecture and number', () => {
    assert.deepEqual(nameCall('c000003e', '59'), { abi: 'b64', name: 'execve' });
    assert.deepEqual(nameCall('40000003', '102'), { abi: 'b32', name: 'socketcall' });
    assert.deepEqual(nameCall('c00000b7', '221'), { abi: 'b64', name: 'execve' });
    assert.deepEqual(nameCall('40000028', '387'), { abi: 'b32', name: 'execveat' });
    assert.deepEqual(nameCall('c000003e', '1'), { abi: 'b64' });
    assert.deepEqual(nameCall('c00000f3', '221'), { abi: 'b64' }); // RISC-V
    assert.equal(nameCall('what', '1'), undefined);
    assert.equal(nameCall(undefined, '1'), undefined);
  });

  it('names calls of all programs that the kernel runs, even if Node is a 32-bit program', () => {
    const archs = (name: string) => abisOf(name).map(({ arch }) => arch.toString(16));
    assert.deepEqual(archs('aarch64'), ['c00000b7', '40000028']);
    assert.deepEqual(archs('armv8l'), archs('aarch64'));
    assert.deepEqual(archs('armv7l'), ['40000028']);
    assert.deepEqual(archs('i686'), archs('x86_64'));
  });

  it('returns undefined for other machines', () => {
    assert.throws(() => abisOf('riscv64'), { id: 'AUDIT_UNAVAILABLE', message: /riscv64/ });
  });
});

describe('audit settings', () => {
  // AUDIT_GET of Linux 6.18, unchanged except for a `lost` of 296.
  const answer = Buffer.from(
    '0000000000000000010000000000000000000000400000002801000000000000' + '7f000000983a000000000000',
    'hex',
  );

  it("decodes the kernel's answer into settings", () => {
    assert.deepEqual(decodeStatus(answer), {
      enabled: 0,
      failure: 1,
      pid: 0,
      backlogLimit: 64,
      backlogWaitTime: 15_000,
      lost: 296,
    });
    assert.equal(decodeStatus(answer.subarray(0, 36)), undefined);
  });

  it('encodes settings one by one', () => {
    const request = encodeStatus({ pid: 77, backlogWaitTime: 0 });
    assert.deepEqual(
      [0, 4, 12, 36].map((at) => request.readUInt32LE(at)),
      [0x24, 0, 77, 0],
    );
  });

  it('restores settings unless another process has changed them', () => {
    const found = { enabled: 0, failure: 1, backlogLimit: 64, backlogWaitTime: 15_000 };
    assert.deepEqual(restore(found, RUNNING), { enabled: 0, backlogLimit: 64, backlogWaitTime: 15_000 });
    assert.deepEqual(restore(found, { ...RUNNING, backlogLimit: 99 }), { enabled: 0, backlogWaitTime: 15_000 });
    assert.deepEqual(restore(RUNNING, RUNNING), {});
  });

  it('round-trips settings through a memo', () => {
    const found = { enabled: 0, failure: 2, backlogLimit: 64, backlogWaitTime: 60_000 };
    assert.deepEqual(parseSettings(formatSettings(found)), found);
    for (const text of ['', 'found enabled=2 failure=1 backlog_limit=1 backlog_wait_time=1', 'found enabled=1']) {
      assert.equal(parseSettings(text), undefined);
    }
  });
});
