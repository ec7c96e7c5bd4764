import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import sinon from 'sinon';
import { systemClock } from '../../../src/base/clock.ts';
import { AuditFollower } from '../../../src/linux/audit/audit-follower.ts';
import { Checkpoint } from '../../../src/linux/audit/checkpoint.ts';

describe('AuditFollower', () => {
  let time: sinon.SinonFakeTimers;
  let hostRoot: string;
  let told: number[];

  beforeEach(() => {
    hostRoot = mkdtempSync(join(tmpdir(), 'vakt-follower-'));
    mkdirSync(join(hostRoot, 'var/log/audit'), { recursive: true });
    symlinkSync('/proc', join(hostRoot, 'proc'));
    told = [];
    const now = Date.now();
    const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
    const left = new Checkpoint(join(hostRoot, 'audit-checkpoint.json'), bootId);
    left.write({ timeMs: now - 1_000, serial: 100 });
    left.close();
    const record = (serial: number) =>
      `type=USER_LOGIN msg=audit(${((now - 500) / 1_000).toFixed(3)}:${serial}): pid=1 msg='op=login res=failed'\n`;
    writeFileSync(join(hostRoot, 'var/log/audit/audit.log'), [99, 100, 101, 102].map(record).join(''));
    time = sinon.useFakeTimers({ now, toFake: ['Date', 'performance', 'setTimeout', 'clearTimeout'] });
  });
  afterEach(() => {
    time.restore();
    rmSync(hostRoot, { recursive: true });
  });

  const follow = () => {
    const follower = new AuditFollower({
      stateDirectory: hostRoot,
      hostRoot,
      deliver: (events) => told.push(...events.map(({ serial }) => serial)),
      clock: systemClock,
      log: pino({ level: 'silent' }),
    });
    follower.began(false);
    return follower;
  };

  for (const [when, ms] of [
    ['a while', 20_000],
    ['a moment', 500],
  ] as const) {
    it(`tells what was missed once, also by an agent that runs for ${when} and hears nothing`, async () => {
      for (let run = 0; run < 2; run += 1) {
        const follower = follow();
        for (let passed = 0; passed < ms; passed += 250) {
          await time.tickAsync(250);
          follower.mark(systemClock.monotonic());
        }
        const stopped = follower.stop();
        await time.tickAsync(10);
        await stopped;
      }
      assert.deepEqual(told, [101, 102]);
    });
  }
});
