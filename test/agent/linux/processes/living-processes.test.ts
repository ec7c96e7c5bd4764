import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { LivingProcesses } from '../../../../src/agent/linux/processes/living-processes.ts';
import { type Clock, systemClock } from '../../../../src/core/base/clock.ts';
import { milliseconds } from '../../../../src/core/base/duration.ts';
import { temporaryFolder } from '../../../harness/folders.ts';

describe('LivingProcesses', () => {
  let proc: string;
  let wall: number;
  let monotonic: number;
  let processes: LivingProcesses;

  const clock: Clock = {
    ...systemClock,
    now: () => new Date(wall),
    monotonic: () => milliseconds(monotonic),
  };

  beforeEach(() => {
    proc = temporaryFolder();
    mkdirSync(join(proc, '70'));
    mkdirSync(join(proc, 'self'));
    wall = 1_000_000;
    monotonic = 0;
    processes = new LivingProcesses({ proc, clock });
  });

  /** Asks until a list has been made. */
  const ask = (startedAt: number) => {
    for (let pid = 1_000; pid < 1_100; pid += 1) processes.hasEnded(pid, startedAt);
  };

  it('returns undefined for a single process: a direct lookup is cheaper', () => {
    assert.equal(processes.hasEnded(71, wall - 100), false);
  });

  it('recognises exited processes if many are requested', () => {
    ask(wall - 100);
    assert.equal(processes.hasEnded(71, wall - 100), true);
    assert.equal(processes.hasEnded(70, wall - 100), false);
  });

  it('does not treat a process as exited that started later', () => {
    ask(wall - 100);
    assert.equal(processes.hasEnded(71, wall), false);
    assert.equal(processes.hasEnded(71, wall - 11), false);
    mkdirSync(join(proc, '72'));
    wall += 50;
    ask(wall - 20);
    assert.equal(processes.hasEnded(71, wall - 20), true);
    assert.equal(processes.hasEnded(72, wall - 20), false);
  });

  it('does not trust a list older than a second', () => {
    const startedAt = wall - 100;
    ask(startedAt);
    rmdirSync(join(proc, '70'));
    mkdirSync(join(proc, '71'));
    wall += 1_001;
    monotonic += 1_001;
    assert.equal(processes.hasEnded(71, startedAt), false);
  });

  it('does not trust a list after the clock has been set back', () => {
    ask(wall - 100);
    mkdirSync(join(proc, '72'));
    wall -= 315_360_000_000;
    assert.equal(processes.hasEnded(72, wall - 20), false);
  });

  it('returns undefined without /proc', () => {
    const blind = new LivingProcesses({ proc: join(proc, 'nowhere'), clock });
    for (let pid = 1; pid < 100; pid += 1) assert.equal(blind.hasEnded(pid, wall - 100), false);
  });

  it('finds the processes of this machine', async () => {
    const child = spawn(process.execPath, ['--version'], { stdio: 'ignore' });
    await once(child, 'exit');
    const here = new LivingProcesses({ proc: '/proc', clock: systemClock });
    const past = Date.now() - 50;
    for (let pid = 0; pid < 100_000; pid += 1) here.hasEnded(2 ** 30, past);
    assert.equal(here.hasEnded(process.pid, past), false);
    assert.equal(here.hasEnded(child.pid ?? 0, past), true);
  });
});
