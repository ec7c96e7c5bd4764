import assert from 'node:assert/strict';
import { pino } from 'pino';
import sinon from 'sinon';
import { systemClock } from '../../../src/base/clock.ts';
import { AuditSource } from '../../../src/linux/audit/audit-source.ts';
import { CWD, EOE, EXECVE, SYSCALL } from '../../../src/linux/audit/reassembler.ts';
import { FakeKernel } from './fake-kernel.ts';
import { exclusionOf } from './foreign-rule.ts';

describe('AuditSource', () => {
  let time: sinon.SinonFakeTimers;
  let kernel: FakeKernel;
  let lost: number;
  let changed: sinon.SinonSpy;
  let source: AuditSource;

  beforeEach(() => {
    time = sinon.useFakeTimers({ now: new Date('2026-01-01') });
    kernel = new FakeKernel();
    lost = 0;
    changed = sinon.spy();
    source = new AuditSource(
      {
        rules: () => [{ syscalls: ['execve'], where: { success: 1 } }],
        sink: { accept: () => {}, lost: (count) => (lost += count) },
        clock: systemClock,
        log: pino({ level: 'silent' }),
        changed,
      },
      kernel.open,
    );
  });
  afterEach(async () => {
    await during(source.close());
    time.restore();
  });

  /** Lets time go by until it is done. */
  async function during(work: Promise<unknown>): Promise<void> {
    let isOver = false;
    const done = work.finally(() => (isOver = true));
    done.catch(() => {});
    for (let turn = 0; turn < 1_000 && !isOver; turn += 1) await time.tickAsync(10);
    await done;
  }

  it('takes the slot that is free', async () => {
    await during(source.open());
    assert.deepEqual(source.status(), { state: 'on', source: 'auditUnicast' });
    assert.equal(kernel.pid, process.pid);
    await during(source.close());
    assert.equal(kernel.pid, 0);
    assert.deepEqual(kernel.rules, []);
  });

  describe('and rules of others', () => {
    it('counts all that the kernel lost while they exclude directories of starts', async () => {
      kernel.rules = [exclusionOf(CWD)];
      await during(source.open());
      for (let start = 0; start < 500; start += 1) {
        kernel.record(
          [SYSCALL, 'arch=c000003e syscall=59 success=yes exit=0 pid=2 exe="/bin/x"'],
          [EXECVE, 'argc=1 a0="x"'],
          [EOE, ''],
        );
      }
      kernel.lost = 400;
      await time.tickAsync(10_000);
      assert.equal(lost, 400);
    });
  });
});
