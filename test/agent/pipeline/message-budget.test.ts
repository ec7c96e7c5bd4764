import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sinon from 'sinon';
import type { Use } from '../../../src/agent/pipeline/event-owner.ts';
import { MessageBudget } from '../../../src/agent/pipeline/message-budget.ts';
import type { StateFiles } from '../../../src/agent/state/state-files.ts';
import { type Clock, systemClock } from '../../../src/core/base/clock.ts';
import { days, hours, milliseconds, minutes } from '../../../src/core/base/duration.ts';
import type { LogLine } from '../../../src/core/base/log.ts';
import type { QueueName } from '../../../src/core/contract/event.ts';
import { unitsOf } from '../../../src/core/contract/message.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { immediateStateFiles } from '../state/immediate-state-files.ts';
import { quietLog } from './memory-queues.ts';

const NO_FILES: StateFiles = { replace: () => {}, remove: () => {}, settled: async () => {} };
const MORNING = Date.parse('2026-05-01T08:00:00Z');

describe('MessageBudget', () => {
  let folder: string;
  let time: sinon.SinonFakeTimers;
  let logged: LogLine[];
  let changes: number;

  beforeEach(() => {
    folder = temporaryFolder();
    time = sinon.useFakeTimers(MORNING);
    logged = [];
    changes = 0;
  });
  afterEach(() => {
    sinon.restore();
    time.restore();
  });

  const open = async (unitsPerDay = 100, clock: Clock = systemClock, files: StateFiles = immediateStateFiles) => {
    const budget = new MessageBudget({
      file: join(folder, 'units.json'),
      unitsPerDay,
      clock,
      log: quietLog(logged),
      files,
      changed: () => {
        changes += 1;
      },
    });
    await budget.start();
    return budget;
  };
  /** For tests that spend thousands of times. */
  const openInMemory = (unitsPerDay: number) => open(unitsPerDay, systemClock, NO_FILES);
  /** Sets the wall clock, and lets no time pass. */
  const step = (to: string) => time.setSystemTime(Date.parse(to));

  it('counts as the hub bills: begun units of 4 KB', () => {
    assert.deepEqual([1, 4096, 4097, 8192, 262_144].map(unitsOf), [1, 1, 2, 2, 64]);
  });

  /** Uses of one owner. */
  const by = (userId: number, queue: QueueName = 'Low', rule = 'ProcessCreate'): Use[] => [
    { owner: `UserId ${userId}`, rule, queue, bytes: 4_096 },
  ];
  const lefts = (budget: MessageBudget) => [budget.left('Low'), budget.left('High'), budget.left('High', true)];

  it('begins the day with a quarter: 80 % of it for Low, 90 % for High, and a tenth in reserve for alerts', async () => {
    const budget = await open(1_000);
    assert.deepEqual(lefts(budget), [200, 225, 25]);
    budget.spend(210);
    assert.deepEqual(lefts(budget), [0, 15, 25]);
    budget.refund(50);
    budget.spend(20, [], true);
    assert.deepEqual(lefts(budget), [40, 65, 5]);
  });

  it('refills evenly, and grants the whole limit over a day', async () => {
    const budget = await open(2_400);
    const spent: number[] = [];
    for (let hour = 0; hour < 16; hour += 1) {
      const units = budget.left('High');
      budget.spend(units);
      spent.push(units);
      time.tick(hours(1));
    }
    assert.equal(spent[0], 540);
    // 2,160 units for High, three quarters of them over 24 hours
    for (const units of spent.slice(1)) assert.ok(Math.abs(units - 67.5) <= 1, String(units));
  });

  it('never exceeds the limit in a UTC day, and grants nearly all of it', async () => {
    for (const limit of [1, 2, 9, 10, 99, 100, 2_000]) {
      time.setSystemTime(Date.parse('2026-05-02T00:00:00Z'));
      const budget = await openInMemory(limit);
      let used = 0;
      for (let minute = 0; minute < 24 * 60; minute += 1) {
        for (const [queue, isUrgent] of [
          ['High', true],
          ['Low', false],
          ['High', false],
        ] as const) {
          const units = budget.left(queue, isUrgent);
          budget.spend(units, [], isUrgent);
          used += units;
        }
        time.tick(minutes(1));
      }
      assert.ok(used <= limit && used >= Math.floor(limit * 0.95), `${used} of ${limit}`);
    }
  });

  it('keeps units that are not used until the day ends', async () => {
    time.setSystemTime(Date.parse('2026-05-02T00:00:00Z'));
    const budget = await open(1_000);
    time.tick(hours(23));
    assert.ok(budget.left('Low') > 770, String(budget.left('Low')));
    time.tick(hours(1));
    budget.spend(1);
    assert.ok(budget.left('Low') < 800);
  });

  it('lets a small limit send a message at any time of its first day', async () => {
    for (const units of [1, 2, 5]) {
      const budget = await open(units);
      assert.deepEqual([budget.left('Low'), budget.left('High'), budget.left('High', true)], [1, 1, 1]);
    }
  });

  it('a budget of 0 means no limit', async () => {
    const budget = await open(0);
    budget.spend(1e6);
    assert.equal(budget.left('Low'), Number.POSITIVE_INFINITY);
    assert.equal(budget.shareOfLow('UserId 1'), Number.POSITIVE_INFINITY);
    assert.deepEqual(budget.use(), { unitsToday: 1e6, unitsPerDay: 0 });
  });

  for (const unitsPerDay of [100, 2_000]) {
    it(`sends a held queue again within an hour with a limit of ${unitsPerDay}`, async () => {
      const budget = await open(unitsPerDay);
      budget.spend(budget.left('Low'));
      for (let n = 0; n < 3; n += 1) budget.hold('Low');
      assert.equal(logged.filter(({ level }) => level === 'warn').length, 1);
      const { held } = budget.use();
      assert.equal(held?.queues, 'Low');
      assert.match(
        held?.reason ?? '',
        new RegExp(`daily budget of ${unitsPerDay} message units .*limits\\.messageUnitsPerDay`),
      );
      const until = Date.parse(held?.until ?? '');
      assert.ok(until > Date.now() && until <= Date.now() + hours(1), held?.until);
      time.tick(until - Date.now() - minutes(1));
      assert.equal(budget.isHeld('Low'), true);
      time.tick(minutes(2));
      assert.equal(budget.isHeld('Low'), false);
      assert.ok(budget.left('Low') >= 1);
      assert.equal(budget.use().held, undefined);
      assert.equal(changes, 2);
    });
  }

  it('holds Low as long as High, and a queue until its next message is paid for', async () => {
    const budget = await open(100);
    budget.spend(20);
    budget.hold('High', 6);
    assert.equal(budget.use().held?.queues, 'High, Low');
    time.tick(hours(1));
    assert.deepEqual([budget.isHeld('High'), budget.isHeld('Low')], [true, true]);
    time.tick(hours(1));
    assert.deepEqual([budget.isHeld('High'), budget.left('High')], [false, 8]);
  });

  describe('shares', () => {
    it('grants one user half of the units for Low, and always leaves some for the next', async () => {
      const budget = await open(2_000);
      const taken = [2001, 2002, 2003, 0].map((user) => {
        const units = budget.shareOfLow(`UserId ${user}`);
        budget.spend(units, by(user));
        return units;
      });
      assert.deepEqual(taken, [200, 100, 50, 25]);
      assert.deepEqual(
        taken,
        taken.toSorted((a, b) => b - a),
      );
      assert.equal(budget.shareOfLow('UserId 2001'), 0);
      assert.ok(budget.left('Low') >= 25);
    });

    it('grants a user no more than half of the units for Low in a day, however it spends them', async () => {
      time.setSystemTime(Date.parse('2026-05-02T00:00:00Z'));
      const budget = await openInMemory(2_000);
      let used = 0;
      for (let minute = 0; minute < 24 * 60; minute += 1) {
        const units = Math.floor(budget.shareOfLow('UserId 2001'));
        budget.spend(units, by(2001));
        used += units;
        time.tick(minutes(1));
      }
      assert.ok(used <= 800 && used > 790, String(used));
    });

    it('divides a message by the bytes of its events, and takes back what was not billed', async () => {
      const budget = await open(2_000);
      const uses = [...by(2001), ...by(2001), ...by(2002, 'High'), ...by(2003)];
      budget.spend(100, uses);
      assert.deepEqual(budget.use().mostUsedBy, 'user 2001');
      assert.equal(budget.use().mostUnits, 50);
      assert.equal(budget.shareOfLow('UserId 2001'), 125);
      budget.refund(100, uses);
      assert.equal(budget.use().mostUsedBy, undefined);
      assert.equal(budget.shareOfLow('UserId 2001'), 200);
    });

    it('names the user that has used most, not the system', async () => {
      const budget = await open(2_000);
      budget.spend(90, [{ owner: 'system', rule: 'ProcessTerminate', queue: 'Low', bytes: 10 }]);
      assert.equal(budget.use().mostUsedBy, undefined);
      budget.spend(10, [{ owner: 'UserId -2', rule: 'ProcessCreate', queue: 'Low', bytes: 10 }]);
      assert.equal(budget.use().mostUsedBy, 'users 165536 to 231071');
      budget.spend(20, [{ owner: 'containers', rule: 'ProcessCreate', queue: 'Low', bytes: 10 }]);
      assert.equal(budget.use().mostUsedBy, 'containers');
    });

    it('serves users first that have had none of the reserve, then rules that have had none', async () => {
      const budget = await open(2_000);
      const alert = (user: number, rule: string) => budget.shareOfReserve(`UserId ${user}`, rule);
      assert.deepEqual(alert(2001, 'a'), { turn: 0, units: 50 });
      budget.spend(20, by(2001, 'High', 'a'), true);
      assert.deepEqual(alert(2001, 'b'), { turn: 1, units: 5 });
      assert.deepEqual(alert(2001, 'a'), { turn: 2, units: 2.5 });
      assert.deepEqual(alert(0, 'a'), { turn: 0, units: 30 });
      budget.spend(5, by(2001, 'High', 'b'), true);
      assert.equal(alert(2001, 'c').units, 0);
      assert.equal(alert(0, 'a').units, 25);
    });

    it('leaves the reserve to the next user, however many users have used theirs', async () => {
      const budget = await open(2_000);
      for (let user = 2001; user < 2011; user += 1) {
        for (let n = 0; n < 120; n += 1) {
          const { units } = budget.shareOfReserve(`UserId ${user}`, `rule ${n}`);
          if (units >= 1) budget.spend(1, by(user, 'High', `rule ${n}`), true);
        }
      }
      time.tick(minutes(20));
      assert.ok(budget.shareOfReserve('UserId 0', 'shell').units >= 1);
    });

    it('remembers a bounded number of users, those that have used most', async () => {
      const budget = await open(100_000);
      for (let user = 1; user <= 200; user += 1) budget.spend(user === 100 ? 30 : 1, by(user));
      await budget.stop();
      assert.ok(readFileSync(join(folder, 'units.json')).length < 16_000);
      assert.equal((await open(100_000)).use().mostUsedBy, 'user 100');
    });
  });

  it('renews itself every day, for a month', async () => {
    const budget = await open();
    for (let day = 0; day < 30; day += 1) {
      assert.equal(budget.left('High'), 22, `day ${day}`);
      budget.spend(22);
      time.tick(days(1));
    }
  });

  it('renews itself every day on a device that is awake for an hour a day', async () => {
    let suspended = 0;
    const sinceBoot = () => milliseconds(performance.now() + suspended);
    const budget = await open(100, { ...systemClock, sinceBoot });
    budget.spend(22);
    for (let day = 0; day < 10; day += 1) {
      await time.tickAsync(hours(1));
      suspended += hours(23);
      step(new Date(Date.now() + hours(23)).toISOString());
      assert.equal(budget.left('Low'), 20, `on day ${day}`);
      budget.spend(22);
      assert.equal(budget.left('High'), 0);
    }
  });

  it('refills while the device is suspended', async () => {
    let suspended = 0;
    const sinceBoot = () => milliseconds(performance.now() + suspended);
    const budget = await open(2_400, { ...systemClock, sinceBoot });
    budget.spend(budget.left('High'));
    suspended += hours(2);
    assert.equal(budget.left('High'), 135);
  });

  it('renews itself at the first midnight, however soon that is', async () => {
    time.setSystemTime(Date.parse('2026-05-01T23:55:00Z'));
    const budget = await open();
    budget.spend(22);
    time.tick(minutes(5));
    assert.equal(budget.left('High'), 22);
    budget.spend(22);
    time.tick(days(1));
    assert.equal(budget.left('High'), 22);
  });

  describe('over a restart', () => {
    it('keeps used units, their users and the refill', async () => {
      const before = await open(2_400);
      before.spend(500, by(2001));
      before.spend(10, by(2001, 'High', 'a'), true);
      time.tick(hours(1));
      await before.stop();
      const budget = await open(2_400);
      assert.deepEqual(lefts(budget), lefts(before));
      assert.deepEqual([budget.use().unitsToday, budget.use().mostUsedBy], [510, 'user 2001']);
      assert.equal(budget.shareOfReserve('UserId 2001', 'b').turn, 1);
      assert.equal(budget.shareOfLow('UserId 2001'), 0);
    });

    it('is a new one on another day', async () => {
      (await open()).spend(22);
      step('2026-05-03T08:00:00Z');
      assert.equal((await open()).left('High'), 22);
    });

    it('loads the file of the previous release', async () => {
      const savedAt = new Date().toISOString();
      const day = Math.floor(Date.now() / days(1));
      const kept = { day, units: 70, ageMs: hours(8), sinceEarlyMs: hours(24), savedAt };
      writeFileSync(join(folder, 'units.json'), JSON.stringify(kept));
      const budget = await open(200);
      assert.equal(budget.use().unitsToday, 70);
      assert.deepEqual(lefts(budget), [10, 20, 10]);
    });

    it('ignores a file that it cannot understand', async () => {
      for (const text of ['', '{', '[]', '{"day":-1}', '{"day":1e99,"units":1}', 'x'.repeat(100_000)]) {
        writeFileSync(join(folder, 'units.json'), text);
        assert.equal((await open()).left('High'), 22);
      }
    });
  });

  describe('against steps of the wall clock', () => {
    /** Units that were spent within a day in which the clock is set forward by a day each minute. */
    const unitsIn = (restarts: boolean) => async () => {
      let budget = await open();
      let used = 0;
      for (let minute = 0; minute < 24 * 60; minute += 1) {
        const left = budget.left('High');
        used += left;
        if (left > 0) budget.spend(left);
        time.tick(minutes(1));
        time.setSystemTime(Date.now() + days(1));
        if (restarts && minute === 30) {
          time.setSystemTime(Date.now() - days(1)); // a restart itself sees no step
          await budget.stop();
          budget = await open();
        }
      }
      assert.ok(used <= 200, String(used));
    };
    it('grants less than two budgets a day', unitsIn(false));
    it('grants less than two budgets a day with a restart in between', unitsIn(true));

    it('grants nothing when it goes back and forth over midnight', async () => {
      time.setSystemTime(Date.parse('2026-05-01T23:59:00Z'));
      const budget = await open();
      let used = 0;
      for (let n = 0; n < 100; n += 1) {
        const left = budget.left('High');
        if (left > 0) used += 1;
        budget.spend(left);
        step(n % 2 === 0 ? '2026-05-02T00:01:00Z' : '2026-05-01T23:59:00Z');
      }
      assert.equal(used, 2);
    });

    it('grants nothing when it is set back or forward within the day', async () => {
      const budget = await open(2_000);
      budget.spend(budget.left('High'));
      step('2026-05-01T20:00:00Z');
      assert.equal(budget.left('High'), 0);
      step('2026-04-30T08:00:00Z');
      assert.equal(budget.left('High'), 0);
    });

    it('remembers over a restart that it was renewed early', async () => {
      const before = await open();
      before.spend(before.left('High'));
      time.setSystemTime(Date.now() + days(1));
      before.spend(before.left('High'));
      time.tick(minutes(1));
      await before.stop();
      const budget = await open();
      time.setSystemTime(Date.now() + days(1));
      assert.equal(budget.left('High'), 0);
    });

    it('holds nothing for years when the clock had been years ahead', async () => {
      const budget = await open();
      step('2040-01-01T00:00:00Z');
      budget.spend(budget.left('High'));
      step('2026-05-01T08:00:00Z');
      assert.equal(budget.left('High'), 0);
      time.tick(hours(12));
      assert.equal(budget.left('High'), 22);
    });

    it('renews itself daily while the clock is not set, and carries on once it is', async () => {
      time.setSystemTime(0);
      const budget = await open();
      budget.spend(90);
      time.tick(days(1) - 1);
      assert.equal(budget.left('Low'), 0);
      time.tick(1);
      assert.equal(budget.left('High'), 22);
      budget.spend(16);
      assert.equal((await open()).left('High'), 6);
      step('2026-05-01T08:00:00Z');
      assert.equal(budget.left('High'), 6);
    });
  });
});
