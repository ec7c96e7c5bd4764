import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sinon from 'sinon';
import { type Clock, systemClock } from '../../src/base/clock.ts';
import { days, hours, milliseconds, minutes } from '../../src/base/duration.ts';
import type { LogLine } from '../../src/base/log.ts';
import { immediateStateFiles } from '../../src/base/state-files.ts';
import { MessageBudget, unitsOf } from '../../src/pipeline/message-budget.ts';
import { temporaryFolder } from '../support/folders.ts';
import { quietLog } from './memory-queues.ts';

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

  const open = async (unitsPerDay = 100, clock: Clock = systemClock) => {
    const budget = new MessageBudget({
      file: join(folder, 'units.json'),
      unitsPerDay,
      clock,
      log: quietLog(logged),
      files: immediateStateFiles,
      changed: () => {
        changes += 1;
      },
    });
    await budget.start();
    return budget;
  };
  /** Sets the wall clock, and lets no time pass. */
  const step = (to: string) => time.setSystemTime(Date.parse(to));

  it('counts as the hub bills: begun units of 4 KB', () => {
    assert.deepEqual([1, 4096, 4097, 8192, 262_144].map(unitsOf), [1, 1, 2, 2, 64]);
  });

  it('leaves Low 80 %, High 95 %, and the rest to what is urgent', async () => {
    const budget = await open();
    assert.deepEqual([budget.left('Low'), budget.left('High'), budget.left('High', true)], [80, 95, 100]);
    budget.spend(90);
    assert.deepEqual([budget.left('Low'), budget.left('High'), budget.left('High', true)], [0, 5, 10]);
    budget.refund(50);
    assert.equal(budget.left('Low'), 40);
  });

  it('leaves something to each of them when it is small', async () => {
    for (const [units, low, high] of [
      [1, 1, 1],
      [2, 1, 2],
      [10, 8, 10],
    ] as const) {
      const budget = await open(units);
      assert.deepEqual([budget.left('Low'), budget.left('High')], [low, high]);
    }
  });

  it('is no limit when it is 0', async () => {
    const budget = await open(0);
    budget.spend(1e6);
    assert.equal(budget.left('Low'), Number.POSITIVE_INFINITY);
    assert.deepEqual(budget.use(), { unitsToday: 1e6, unitsPerDay: 0 });
  });

  it('says once that it holds a queue, and when that ends', async () => {
    const budget = await open();
    budget.spend(80);
    for (let n = 0; n < 3; n += 1) budget.hold('Low');
    assert.equal(logged.filter(({ level }) => level === 'warn').length, 1);
    const { held } = budget.use();
    assert.deepEqual([held?.queues, held?.until], ['Low', '2026-05-02T00:00:00.000Z']);
    assert.match(held?.reason ?? '', /daily budget of 100 message units .*limits\.messageUnitsPerDay/);
    time.tick(hours(16) - 1);
    assert.equal(budget.isHeld('Low'), true);
    time.tick(1);
    assert.equal(budget.isHeld('Low'), false);
    assert.deepEqual(budget.use(), { unitsToday: 0, unitsPerDay: 100 });
    assert.equal(changes, 2);
  });

  it('renews itself every day, for a month', async () => {
    const budget = await open();
    for (let day = 0; day < 30; day += 1) {
      assert.equal(budget.left('High', true), 100, `day ${day}`);
      budget.spend(100);
      time.tick(days(1));
    }
  });

  it('renews itself every day on a device that is awake for an hour a day', async () => {
    let suspended = 0;
    const sinceBoot = () => milliseconds(performance.now() + suspended);
    const budget = await open(100, { ...systemClock, sinceBoot });
    budget.spend(100);
    for (let day = 0; day < 10; day += 1) {
      await time.tickAsync(hours(1));
      suspended += hours(23);
      step(new Date(Date.now() + hours(23)).toISOString());
      assert.equal(budget.left('Low'), 80, `on day ${day}`);
      budget.spend(100);
      assert.equal(budget.left('High', true), 0);
    }
  });

  it('renews itself at the first midnight, however soon that is', async () => {
    time.setSystemTime(Date.parse('2026-05-01T23:55:00Z'));
    const budget = await open();
    budget.spend(100);
    time.tick(minutes(5));
    assert.equal(budget.left('High', true), 100);
    budget.spend(100);
    time.tick(days(1));
    assert.equal(budget.left('High', true), 100);
  });

  describe('over a restart', () => {
    it('remembers what was used', async () => {
      (await open()).spend(70);
      time.tick(minutes(1));
      assert.equal((await open()).left('Low'), 10);
    });

    it('is a new one on another day', async () => {
      (await open()).spend(100);
      step('2026-05-03T08:00:00Z');
      assert.equal((await open()).left('High', true), 100);
    });

    it('takes a file that it cannot understand for none', async () => {
      for (const text of ['', '{', '[]', '{"day":-1}', '{"day":1e99,"units":1}', 'x'.repeat(10_000)]) {
        writeFileSync(join(folder, 'units.json'), text);
        assert.equal((await open()).left('High', true), 100);
      }
    });
  });

  describe('against steps of the wall clock', () => {
    /** Budgets that were used up within a day in which the clock is set forward by a day each minute. */
    const budgetsIn = (restarts: boolean) => async () => {
      let budget = await open();
      let used = 0;
      for (let minute = 0; minute < 24 * 60; minute += 1) {
        const left = budget.left('High', true);
        if (left > 0) used += 1;
        budget.spend(left);
        time.tick(minutes(1));
        time.setSystemTime(Date.now() + days(1));
        if (restarts && minute === 30) {
          time.setSystemTime(Date.now() - days(1)); // a restart itself sees no step
          await budget.stop();
          budget = await open();
        }
      }
      assert.ok(used <= 4, String(used));
    };
    it('grants no more than a few budgets a day', budgetsIn(false));
    it('nor with a restart in between', budgetsIn(true));

    it('grants nothing when it goes back and forth over midnight', async () => {
      time.setSystemTime(Date.parse('2026-05-01T23:59:00Z'));
      const budget = await open();
      let used = 0;
      for (let n = 0; n < 100; n += 1) {
        const left = budget.left('High', true);
        if (left > 0) used += 1;
        budget.spend(left);
        step(n % 2 === 0 ? '2026-05-02T00:01:00Z' : '2026-05-01T23:59:00Z');
      }
      assert.equal(used, 2);
    });

    it('grants nothing when it is set back', async () => {
      const budget = await open();
      budget.spend(budget.left('High', true));
      time.setSystemTime(Date.now() - days(1));
      assert.equal(budget.left('High', true), 0);
    });

    it('remembers over a restart that it was renewed early', async () => {
      const before = await open();
      before.spend(before.left('High', true));
      time.setSystemTime(Date.now() + days(1));
      before.spend(before.left('High', true));
      time.tick(minutes(1));
      await before.stop();
      const budget = await open();
      time.setSystemTime(Date.now() + days(1));
      assert.equal(budget.left('High', true), 0);
    });

    it('holds nothing for years when the clock had been years ahead', async () => {
      const budget = await open();
      step('2040-01-01T00:00:00Z');
      budget.spend(budget.left('High', true));
      step('2026-05-01T08:00:00Z');
      assert.equal(budget.left('High', true), 0);
      time.tick(hours(12));
      assert.equal(budget.left('High', true), 100);
    });

    it('renews itself daily while the clock is not set, and carries on once it is', async () => {
      time.setSystemTime(0);
      const budget = await open();
      budget.spend(100);
      time.tick(days(1) - 1);
      assert.equal(budget.left('High', true), 0);
      time.tick(1);
      assert.equal(budget.left('High', true), 100);
      budget.spend(60);
      assert.equal((await open()).left('High', true), 40);
      step('2026-05-01T08:00:00Z');
      assert.equal(budget.left('High', true), 40);
    });
  });
});
