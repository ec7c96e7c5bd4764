import assert from 'node:assert/strict';
import type { AuditControl } from '../../../../src/agent/linux/audit/control.ts';
import { KernelRules } from '../../../../src/agent/linux/audit/kernel-rules.ts';
import type { AuditRule } from '../../../../src/agent/linux/audit/rules.ts';
import { decodeRule, isRingRule, type KernelRule, memoIn, memoRule } from '../../../../src/agent/linux/audit/rules.ts';

/** AUDIT_SADDR_FAM, in the words of a rule that name its fields. */
const SADDR_FAM = 113;
const fieldsOf = (rule: Buffer) => Array.from({ length: 64 }, (_, index) => rule.readUInt32LE((67 + index) * 4));

/** The kernel's list, kept here: what the real one does with it is tried in test/system. */
class RuleList implements Pick<AuditControl, 'rules' | 'addRule' | 'deleteRule'> {
  readonly list: Buffer[] = [];
  readonly log: string[] = [];
  /** Before Linux 5.3. */
  isOld = false;
  /** Since Linux 5.16. */
  knowsRings = true;

  async rules(): Promise<KernelRule[]> {
    return this.list.map(decodeRule).filter((rule) => rule !== undefined);
  }

  async addRule(rule: Buffer): Promise<void> {
    const isRefused = isRingRule(rule) && (this.isOld || !this.knowsRings);
    if (isRefused || (this.isOld && fieldsOf(rule).includes(SADDR_FAM))) {
      throw Object.assign(new Error('EINVAL'), { code: 'EINVAL' });
    }
    this.list.push(rule);
    this.log.push('add');
  }

  async deleteRule(rule: Buffer): Promise<void> {
    this.list.splice(
      this.list.findIndex((other) => other.equals(rule)),
      1,
    );
    this.log.push('delete');
  }
}

const CONNECTS: readonly AuditRule[] = [
  { syscalls: ['connect'], ringOperations: ['connect'], where: { saddr_fam: 2 } },
  { syscalls: ['connect'], ringOperations: ['connect'], where: { saddr_fam: 10 } },
];

describe('KernelRules', () => {
  let kernel: RuleList;
  let rules: KernelRules;

  beforeEach(() => {
    kernel = new RuleList();
    rules = new KernelRules(kernel as unknown as AuditControl);
  });

  it('adds new rules before it deletes old ones', async () => {
    await rules.sync({ rules: CONNECTS, exclude: false });
    kernel.log.length = 0;
    await rules.sync({ rules: [{ syscalls: ['execve'] }], exclude: false });
    assert.ok(kernel.log.lastIndexOf('add') < kernel.log.indexOf('delete'), kernel.log.join());
  });

  it('changes nothing if all rules are as required', async () => {
    assert.ok((await rules.sync({ rules: CONNECTS, exclude: true })) > 0);
    kernel.log.length = 0;
    assert.equal(await rules.sync({ rules: CONNECTS, exclude: true }), 0);
    assert.deepEqual(kernel.log, []);
  });

  it('excludes records only on request', async () => {
    await rules.sync({ rules: [], exclude: true });
    assert.equal(kernel.list.length, 4);
    await rules.sync({ rules: [], exclude: false });
    assert.equal(kernel.list.length, 0);
  });

  it('keeps the memo as long as it is required', async () => {
    await rules.sync({ rules: [], exclude: false, memo: memoRule('x') });
    assert.deepEqual((await rules.ours()).map(memoIn), ['x']);
    await rules.sync({ rules: [], exclude: false });
    assert.deepEqual(await rules.ours(), []);
  });

  it('requests connections of all families from an old kernel', async () => {
    kernel.isOld = true;
    await rules.sync({ rules: CONNECTS, exclude: false });
    assert.ok(kernel.list.length > 0);
    assert.ok(kernel.list.every((rule) => !fieldsOf(rule).includes(SADDR_FAM)));
    assert.equal(await rules.has(CONNECTS), true);
  });

  it('requests connections by io_uring, and removes the rule again', async () => {
    await rules.sync({ rules: CONNECTS, exclude: false });
    assert.equal(kernel.list.filter(isRingRule).length, 2);
    assert.equal(await rules.sync({ rules: CONNECTS, exclude: false }), 0);
    await rules.sync({ rules: [{ syscalls: ['execve'] }], exclude: false });
    assert.equal(kernel.list.filter(isRingRule).length, 0);
  });

  it('sets all other rules on a kernel without io_uring rules', async () => {
    kernel.knowsRings = false;
    await rules.sync({ rules: CONNECTS, exclude: true });
    assert.ok(kernel.list.length > 4);
    assert.ok(kernel.list.slice(4).every((rule) => fieldsOf(rule).includes(SADDR_FAM)));
    assert.equal(await rules.sync({ rules: CONNECTS, exclude: true }), 0);
  });

  it('works without io_uring rules that no other program has set', async () => {
    await rules.sync({ rules: CONNECTS, exclude: false });
    kernel.list.splice(0, kernel.list.length, ...kernel.list.filter((rule) => !isRingRule(rule)));
    assert.equal(await rules.has(CONNECTS), true);
  });

  it("accepts an administrator's rules that do not report who sets up an io_uring", async () => {
    const starts = { syscalls: ['execve', 'execveat'], where: { success: 1 } } as const;
    const setups = { syscalls: ['io_uring_setup'], where: { success: 1 } } as const;
    await rules.sync({ rules: [starts], exclude: false });
    assert.equal(await rules.has([starts, setups]), true);
    assert.equal(await rules.has([starts, setups, ...CONNECTS]), false);
  });

  it('detects whether another program has set the rules', async () => {
    assert.equal(await rules.has(CONNECTS), false);
    await rules.sync({ rules: [...CONNECTS, { syscalls: ['accept'] }], exclude: false });
    assert.equal(await rules.has(CONNECTS), true);
  });

  it("takes over a command's rules if it needs the same ones", async () => {
    const command = new KernelRules(kernel as unknown as AuditControl, { yieldsToAgent: true });
    await command.sync({ rules: CONNECTS, exclude: false });
    assert.deepEqual([await rules.has(CONNECTS), await command.areOfAnother()], [true, false]);
    assert.ok((await rules.sync({ rules: CONNECTS, exclude: false })) > 0);
    assert.deepEqual([await command.has(CONNECTS), await command.areOfAnother()], [true, true]);
    assert.deepEqual(
      (await rules.ours()).map((rule) => command.hasSet(rule)),
      kernel.list.map(() => false),
    );
  });

  it('recognises its rules in foreign rules with more system calls, and in those of an old kernel', async () => {
    const starts = { syscalls: ['execve'], where: { success: 1 } } as const;
    await rules.sync({ rules: [{ ...starts, syscalls: ['execve', 'accept'] }], exclude: false });
    assert.equal(await rules.has([starts]), true);
    assert.equal(await rules.has([{ ...starts, syscalls: ['execve', 'accept4'] }]), false);
    assert.equal(await rules.has([{ ...starts, where: { success: 0 } }]), false);
    kernel.isOld = true;
    await rules.sync({ rules: CONNECTS, exclude: false });
    assert.equal(await new KernelRules(kernel as unknown as AuditControl).has(CONNECTS), true);
  });
});
