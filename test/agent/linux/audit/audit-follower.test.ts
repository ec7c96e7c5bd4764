import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import sinon from 'sinon';
import { AuditFollower } from '../../../../src/agent/linux/audit/audit-follower.ts';
import { Checkpoint } from '../../../../src/agent/linux/audit/checkpoint.ts';
import type { AuditEvent } from '../../../../src/agent/linux/audit/event.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';
import { temporaryFolder } from '../../../harness/folders.ts';

describe('AuditFollower', () => {
  let time: sinon.SinonFakeTimers;
  let hostRoot: string;
  let reported: number[];
  let recordedAt: number;
  let isBehind: boolean;

  beforeEach(() => {
    hostRoot = temporaryFolder();
    mkdirSync(join(hostRoot, 'var/log/audit'), { recursive: true });
    symlinkSync('/proc', join(hostRoot, 'proc'));
    reported = [];
    isBehind = false;
    const now = Date.now();
    const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
    const left = new Checkpoint(join(hostRoot, 'audit-checkpoint.json'), bootId);
    left.write({ timeMs: now - 1_000, serial: 100 });
    recordedAt = now - 500;
    const record = (serial: number) =>
      `type=USER_LOGIN msg=audit(${(recordedAt / 1_000).toFixed(3)}:${serial}): pid=1 msg='op=login res=failed'\n`;
    writeFileSync(join(hostRoot, 'var/log/audit/audit.log'), [99, 100, 101, 102].map(record).join(''));
    time = sinon.useFakeTimers({ now, toFake: ['Date', 'performance', 'setTimeout', 'clearTimeout'] });
  });
  afterEach(() => {
    time.restore();
  });

  const follow = (readsLog = false) => {
    const follower = new AuditFollower({
      stateDirectory: hostRoot,
      hostRoot,
      deliver: (events) => reported.push(...events.map(({ serial }) => serial)),
      isBehind: () => isBehind,
      clock: systemClock,
      log: pino({ level: 'silent' }),
    });
    follower.began(readsLog);
    return follower;
  };

  for (const [when, ms] of [
    ['a while', 20_000],
    ['a moment', 500],
  ] as const) {
    it(`reports missed events once, even for an agent that runs for ${when} and receives no live event`, async () => {
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
      assert.deepEqual(reported, [101, 102]);
    });
  }

  describe("when auditd's log is the source and was rotated away", () => {
    const SET_BACK = 86_400_000;
    const event = (serial: number, timeMs: number) => ({ serial, time: new Date(timeMs) }) as AuditEvent;
    const leave = (bootId: string, timeMs: number) => {
      const left = new Checkpoint(join(hostRoot, 'audit-checkpoint.json'), bootId);
      left.write({ timeMs, serial: 100 });
    };
    const resume = async () => {
      const follower = follow(true);
      const beginning = follower.resume();
      beginning.opened?.(false);
      await follower.stop();
      return { follower, reachedEnd: () => beginning.reachedEnd?.() };
    };

    it('reports the events after the checkpoint, by serial within the same boot', async () => {
      const { follower, reachedEnd } = await resume();
      for (let end = 0; end < 2; end += 1) {
        const events = [event(99, Date.now()), event(100, Date.now()), event(101, Date.now() - 2_000)];
        assert.deepEqual(
          events.map((each) => follower.isNew(each)),
          [false, false, true],
        );
        reachedEnd();
      }
    });

    it('reports the events written from then on, even if the clock was set back', async () => {
      const { follower, reachedEnd } = await resume();
      const before = Date.now() - SET_BACK * 365;
      assert.equal(follower.isNew(event(101, before)), false);
      reachedEnd();
      assert.deepEqual(
        [100, 101].map((serial) => follower.isNew(event(serial, before))),
        [false, true],
      );
    });

    it('reports the events written from then on, even if the clock was ahead in an earlier boot', async () => {
      leave('00000000-0000-0000-0000-000000000000', Date.now() + SET_BACK);
      const { follower, reachedEnd } = await resume();
      assert.equal(follower.isNew(event(1, Date.now())), false);
      reachedEnd();
      assert.equal(follower.isNew(event(1, Date.now())), true);
    });

    it('returns how long it reads earlier events', async () => {
      const { follower, reachedEnd } = await resume();
      assert.equal(follower.readsPast, true);
      reachedEnd();
      assert.equal(follower.readsPast, false);
    });
  });

  describe('while it catches up', () => {
    let follower: AuditFollower;
    beforeEach(() => {
      follower = follow();
    });
    afterEach(async () => {
      const stopped = follower.stop();
      await time.tickAsync(10);
      await stopped;
    });

    const cameLive = (serial: number): AuditEvent => ({
      time: new Date(recordedAt),
      serial,
      success: true,
      fields: {},
    });
    const pass = async (ms: number) => {
      for (let passed = 0; passed < ms; passed += 250) {
        await time.tickAsync(250);
        follower.mark(systemClock.monotonic());
      }
    };
    const remembered = () =>
      (JSON.parse(readFileSync(join(hostRoot, 'audit-checkpoint.json'), 'utf8')) as { serial: number }).serial;

    it('skips log events that already arrived live', async () => {
      follower.seen([cameLive(102)]);
      await pass(10_000);
      assert.deepEqual(reported, [101]);
    });

    it('waits until the live events have been read, and no longer', async () => {
      await time.tickAsync(20_000); // the agent is slow, and reads nothing
      assert.deepEqual(reported, []);
      follower.seen([cameLive(102)]);
      await pass(10_000);
      assert.deepEqual(reported, [101]);
      assert.equal(follower.isCatchingUp, false);
    });

    it('stores no live event in the checkpoint, so that the next run catches up after a kill', async () => {
      follower.seen([cameLive(102)]);
      follower.mark(systemClock.monotonic());
      assert.ok(follower.isCatchingUp);
      assert.equal(remembered(), 100);
      await pass(10_000);
      assert.equal(remembered(), 102);
    });

    it('stores events in the checkpoint only after they have been processed', async () => {
      await pass(10_000);
      isBehind = true;
      follower.seen([cameLive(103)]);
      await pass(1_000);
      assert.equal(remembered(), 102);
      isBehind = false;
      await pass(250);
      assert.equal(remembered(), 103);
    });
  });
});
