import assert from 'node:assert/strict';
import { TimeBudget } from '../../../src/agent/host/hashing-time.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { milliseconds } from '../../../src/core/base/duration.ts';

describe('TimeBudget', () => {
  let now: number;
  let budget: TimeBudget;

  beforeEach(() => {
    now = 1_000;
    budget = new TimeBudget({ ...systemClock, monotonic: () => milliseconds(now) }, 0.05, milliseconds(100));
  });

  const work = (time: number) => {
    const since = milliseconds(now);
    now += time;
    return budget.pay(since);
  };

  it('starts with saved time, and never saves more', () => {
    assert.equal(budget.left(), 100);
    now += 3_600_000;
    assert.equal(budget.left(), 100);
  });

  it('pays for work, and earns a share of the time', () => {
    assert.equal(work(60), 1_060);
    assert.equal(budget.left(), 43);
    now += 1_000;
    assert.equal(budget.left(), 93);
  });

  it('can be overdrawn, and returns how long it takes until enough is available', () => {
    work(300);
    assert.equal(budget.left(), -185);
    assert.equal(budget.delayFor(milliseconds(15)), 4_000);
    now += 4_000;
    assert.equal(budget.left(), 15);
    assert.equal(budget.delayFor(milliseconds(15)), 0);
    assert.equal(budget.delayFor(milliseconds(1)), 0);
  });
});
