import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pino } from 'pino';
import { AUDIT_LOG, AuditLogSource } from '../../../../src/agent/linux/audit/audit-log-source.ts';
import type { AuditRule } from '../../../../src/agent/linux/audit/rules.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';
import { FakeKernel } from './fake-kernel.ts';

describe('AuditLogSource', () => {
  const hostRoot = mkdtempSync(join(tmpdir(), 'vakt-audit-'));
  let kernel: FakeKernel;

  before(() => {
    mkdirSync(join(hostRoot, dirname(AUDIT_LOG)), { recursive: true });
    writeFileSync(join(hostRoot, AUDIT_LOG), '');
  });
  after(() => rmSync(hostRoot, { recursive: true }));
  beforeEach(() => {
    kernel = new FakeKernel();
  });

  /** Opened without rules, since it would look for the start of a program, and then with these. */
  async function started(syscalls: readonly string[], yieldsToAgent: boolean): Promise<AuditLogSource> {
    let rules: AuditRule[] = [];
    const source = new AuditLogSource(
      {
        rules: () => rules,
        yieldsToAgent,
        sink: { accept: () => {}, lost: () => {} },
        clock: systemClock,
        log: pino({ level: 'silent' }),
        hostRoot,
      },
      { openSocket: kernel.open },
    );
    await source.open();
    rules = [{ syscalls, where: { success: 1 } }];
    await source.refreshRules();
    return source;
  }

  for (const yieldsToAgent of [false, true]) {
    it(`sets rules and removes them${yieldsToAgent ? ', in a command as well' : ''}`, async () => {
      const source = await started(['execve'], yieldsToAgent);
      assert.notEqual(kernel.rules.length, 0);
      await source.close();
      assert.deepEqual(kernel.rules, []);
    });
  }

  for (const syscalls of [['execve'], ['execve', 'connect']]) {
    it(`leaves the rules to an agent that starts during a command and requests ${syscalls.join(' and ')}`, async () => {
      const command = await started(['execve'], true);
      const agent = await started(syscalls, false);
      const before = [...kernel.rules];
      await command.refreshRules();
      assert.deepEqual(kernel.rules, before);
      await command.close();
      assert.deepEqual(kernel.rules, before);
      await agent.close();
      assert.deepEqual(kernel.rules, []);
    });
  }

  it('removes the remaining rules of a command after an administrator has removed some', async () => {
    const command = await started(['execve'], true);
    kernel.rules.shift();
    assert.notDeepEqual(kernel.rules, []);
    await command.close();
    assert.deepEqual(kernel.rules, []);
  });
});
