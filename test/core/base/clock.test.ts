import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import os from 'node:os';
import sinon from 'sinon';
import {
  EARLIEST,
  elapsedOf,
  isPlausible,
  momentOf,
  systemClock,
  TimeLimitError,
  wallOffset,
} from '../../../src/core/base/clock.ts';
import { days, hours, milliseconds, seconds } from '../../../src/core/base/duration.ts';

describe('systemClock', () => {
  let time: sinon.SinonFakeTimers;

  beforeEach(() => {
    time = sinon.useFakeTimers({ now: new Date('2024-05-01T12:00:00Z') });
  });
  afterEach(() => time.restore());

  /** Whether a promise has settled, in a way that a test can ask at any moment. */
  const watch = (promise: Promise<unknown>) => {
    const watched = { done: false };
    const settle = () => {
      watched.done = true;
    };
    promise.then(settle, settle);
    return watched;
  };

  it('tells the time', () => assert.equal(systemClock.now().toISOString(), '2024-05-01T12:00:00.000Z'));

  it('measures spans', async () => {
    const before = systemClock.monotonic();
    await time.tickAsync(1_500);
    assert.equal(systemClock.monotonic() - before, 1_500);
  });

  it('tells the time of what the kernel recorded', async () => {
    await time.tickAsync(5_000);
    const recorded = systemClock.monotonic() * 1e6;
    await time.tickAsync(1_500);
    assert.equal(systemClock.fromKernel(recorded).toISOString(), '2024-05-01T12:00:05.000Z');
    assert.equal(systemClock.fromKernel(BigInt(recorded) + 250_000_000n).toISOString(), '2024-05-01T12:00:05.250Z');
  });

  it('tells the time of what the kernel recorded by the wall clock as it stands now', async () => {
    const recorded = systemClock.monotonic() * 1e6;
    await time.tickAsync(1_500);
    time.setSystemTime(new Date('2034-05-01T12:00:00Z'));
    assert.equal(systemClock.fromKernel(recorded).toISOString(), '2034-05-01T11:59:58.500Z');
    time.setSystemTime(new Date('2014-05-01T12:00:00Z'));
    assert.equal(systemClock.fromKernel(recorded).toISOString(), '2014-05-01T11:59:58.500Z');
  });

  it('measures on as before when the wall clock is set, and shows the step', async () => {
    const [before, offset] = [systemClock.monotonic(), wallOffset(momentOf(systemClock))];
    await time.tickAsync(1_000);
    assert.equal(wallOffset(momentOf(systemClock)), offset);
    time.setSystemTime(systemClock.now().getTime() - days(3_652));
    assert.equal(systemClock.monotonic() - before, 1_000);
    assert.equal(wallOffset(momentOf(systemClock)) - offset, -days(3_652));
  });

  it('does not take a time for one of a clock that was set, when it is older than the agent', () => {
    assert.equal(isPlausible(new Date(EARLIEST.getTime() - 1)), false);
    assert.equal(isPlausible(EARLIEST), true);
    assert.equal(isPlausible(new Date(Number.NaN)), false);
  });

  it('does not let the kernel tell of what is to come', () => {
    assert.equal(systemClock.fromKernel(2 ** 63).getTime(), systemClock.now().getTime());
  });

  it("reads the kernel's own clock", () => {
    time.restore();
    const before = Date.now();
    const [uptime = 0] = readFileSync('/proc/uptime', 'latin1').split(' ').map(Number);
    // The same to 10 ms on a machine that has never slept; else ahead by so long, and cut to now.
    const told = systemClock.fromKernel(uptime * 1e9).getTime();
    const after = Date.now();
    assert.ok(told >= before - 1_000 && told <= after, `${told} is not between ${before} and ${after}`);
  });

  it('sleeps as long as told', async () => {
    const sleep = watch(systemClock.sleep(seconds(5)));
    await time.tickAsync(4_999);
    assert.equal(sleep.done, false);
    await time.tickAsync(1);
    assert.equal(sleep.done, true);
  });

  for (const wait of [2 ** 31 - 1, 2 ** 31, 2 ** 31 + 1, days(365)]) {
    it(`sleeps for ${wait} ms, which one timer may not hold`, async () => {
      const sleep = watch(systemClock.sleep(milliseconds(wait)));
      await time.tickAsync(wait - 1);
      assert.equal(sleep.done, false);
      await time.tickAsync(2);
      assert.equal(sleep.done, true);
    });
  }

  it('wakes at an abort, and leaves no timer behind', async () => {
    const stop = new AbortController();
    const sleep = watch(systemClock.sleep(days(365), stop.signal));
    await time.tickAsync(days(30));
    assert.equal(sleep.done, false);
    stop.abort();
    await time.tickAsync(0);
    assert.equal(sleep.done, true);
    assert.equal(time.countTimers(), 0);
  });

  it('does not sleep at all when aborted already', async () => {
    await systemClock.sleep(days(365), AbortSignal.abort());
    assert.equal(time.countTimers(), 0);
  });

  it('forgets the signal when the time is over', async () => {
    const { signal } = new AbortController();
    const added = sinon.spy(signal, 'addEventListener');
    const removed = sinon.spy(signal, 'removeEventListener');
    const sleep = systemClock.sleep(seconds(1), signal);
    await time.tickAsync(1_000);
    await sleep;
    assert.equal(removed.callCount, added.callCount);
  });

  it('has one timer for all who sleep until the same millisecond, and wakes each once', async () => {
    const sleeps = [watch(systemClock.sleep(seconds(4)))];
    await time.tickAsync(1_000.4);
    const stop = new AbortController();
    const stopped = watch(systemClock.sleep(milliseconds(2_999.8), stop.signal));
    sleeps.push(watch(systemClock.sleep(milliseconds(2_999.5))));
    assert.equal(time.countTimers(), 1);
    stop.abort();
    await time.tickAsync(0);
    assert.equal(stopped.done, true);
    assert.deepEqual(
      sleeps.map(({ done }) => done),
      [false, false],
    );
    await time.tickAsync(3_000);
    assert.deepEqual(
      sleeps.map(({ done }) => done),
      [true, true],
    );
    assert.equal(time.countTimers(), 0);
    await systemClock.within(
      seconds(9),
      'the next sleep',
      Promise.all([systemClock.sleep(seconds(4)), time.tickAsync(4_000)]),
    );
  });

  it('has a timer for each who sleeps for a short time, which is then exact', async () => {
    const sleeps = [systemClock.sleep(milliseconds(50)), systemClock.sleep(milliseconds(50))];
    assert.equal(time.countTimers(), 2);
    await time.tickAsync(50);
    await Promise.all(sleeps);
  });

  describe('within', () => {
    it('answers as the work does', async () => {
      assert.equal(await systemClock.within(seconds(1), 'the work', Promise.resolve(7)), 7);
      await assert.rejects(systemClock.within(seconds(1), 'the work', Promise.reject(new Error('no'))), /^Error: no$/);
      assert.equal(time.countTimers(), 0);
    });

    it('rejects when the work takes longer, and names it', async () => {
      const work = systemClock.within(seconds(3), 'the work', new Promise(() => {}));
      const rejects = assert.rejects(work, (error) => {
        assert.ok(error instanceof TimeLimitError);
        assert.equal(error.message, 'the work took longer than 3 s');
        return true;
      });
      const watched = watch(work);
      await time.tickAsync(2_999);
      assert.equal(watched.done, false);
      await time.tickAsync(1);
      await rejects;
    });

    it('takes an answer that is there when this process was held up until after the limit', async () => {
      const answer = new Promise((resolve) => setTimeout(resolve, 31_001, 'there'));
      const work = systemClock.within(seconds(30), 'the work', answer);
      await time.tickAsync(20_000);
      time.jump(11_000); // the timer of the limit is run first, 1,000 ms late
      await time.tickAsync(1);
      assert.equal(await work, 'there');
      assert.equal(time.countTimers(), 0);
    });

    it('adds what it was held up for but once', async () => {
      const rejects = assert.rejects(systemClock.within(seconds(3), 'the work', new Promise(() => {})), TimeLimitError);
      time.jump(1_000_000);
      await time.tickAsync(2_999);
      time.jump(1_000_000);
      await rejects;
      assert.equal(time.countTimers(), 0);
    });

    it('does not mind work that fails later', async () => {
      const work = new Promise((_resolve, reject) => {
        systemClock.sleep(seconds(5)).then(() => reject(new Error('late')));
      });
      const limited = assert.rejects(systemClock.within(seconds(1), 'the work', work), TimeLimitError);
      await time.tickAsync(10_000);
      await limited; // an unhandled rejection would fail the run
    });
  });
});

describe('elapsedOf', () => {
  const monotonic = () => hours(2);

  it('counts the time in which the machine was suspended, where the clock tells it', () => {
    assert.equal(elapsedOf({ monotonic, sinceBoot: () => hours(50) }), hours(50));
  });

  it('is the monotonic clock elsewhere, whatever the uptime that a container shows', () => {
    const uptime = sinon.stub(os, 'uptime').throws(new Error('asked for'));
    try {
      assert.equal(elapsedOf({ monotonic }), hours(2));
      assert.equal(elapsedOf({ monotonic, sinceBoot: () => undefined }), hours(2));
    } finally {
      uptime.restore();
    }
  });
});
