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

  /** Shows at any moment whether a promise has settled. */
  const watch = (promise: Promise<unknown>) => {
    const watched = { done: false };
    const settle = () => {
      watched.done = true;
    };
    promise.then(settle, settle);
    return watched;
  };

  it('systemClock returns the current time', () =>
    assert.equal(systemClock.now().toISOString(), '2024-05-01T12:00:00.000Z'));

  it('systemClock measures spans of time', async () => {
    const before = systemClock.monotonic();
    await time.tickAsync(1_500);
    assert.equal(systemClock.monotonic() - before, 1_500);
  });

  it('systemClock converts a timestamp of the kernel to wall-clock time', async () => {
    await time.tickAsync(5_000);
    const recorded = systemClock.monotonic() * 1e6;
    await time.tickAsync(1_500);
    assert.equal(systemClock.fromKernel(recorded).toISOString(), '2024-05-01T12:00:05.000Z');
    assert.equal(systemClock.fromKernel(BigInt(recorded) + 250_000_000n).toISOString(), '2024-05-01T12:00:05.250Z');
  });

  it('systemClock converts a timestamp of the kernel by the current wall clock', async () => {
    const recorded = systemClock.monotonic() * 1e6;
    await time.tickAsync(1_500);
    time.setSystemTime(new Date('2034-05-01T12:00:00Z'));
    assert.equal(systemClock.fromKernel(recorded).toISOString(), '2034-05-01T11:59:58.500Z');
    time.setSystemTime(new Date('2014-05-01T12:00:00Z'));
    assert.equal(systemClock.fromKernel(recorded).toISOString(), '2014-05-01T11:59:58.500Z');
  });

  it('systemClock keeps measuring correctly when the wall clock is set, and wallOffset shows the step', async () => {
    const [before, offset] = [systemClock.monotonic(), wallOffset(momentOf(systemClock))];
    await time.tickAsync(1_000);
    assert.equal(wallOffset(momentOf(systemClock)), offset);
    time.setSystemTime(systemClock.now().getTime() - days(3_652));
    assert.equal(systemClock.monotonic() - before, 1_000);
    assert.equal(wallOffset(momentOf(systemClock)) - offset, -days(3_652));
  });

  it('isPlausible rejects a time before every release of the agent, and an invalid time', () => {
    assert.equal(isPlausible(new Date(EARLIEST.getTime() - 1)), false);
    assert.equal(isPlausible(EARLIEST), true);
    assert.equal(isPlausible(new Date(Number.NaN)), false);
  });

  it('systemClock converts a future timestamp of the kernel to the current time', () => {
    assert.equal(systemClock.fromKernel(2 ** 63).getTime(), systemClock.now().getTime());
  });

  it("systemClock agrees with the kernel's uptime", () => {
    time.restore();
    const before = Date.now();
    const [uptime = 0] = readFileSync('/proc/uptime', 'latin1').split(' ').map(Number);
    // Equal to within 10 ms on a machine that was never suspended; otherwise ahead by the suspended time, and limited
    // to now.
    const told = systemClock.fromKernel(uptime * 1e9).getTime();
    const after = Date.now();
    assert.ok(told >= before - 1_000 && told <= after, `${told} is not between ${before} and ${after}`);
  });

  it('systemClock sleeps for the requested time', async () => {
    const sleep = watch(systemClock.sleep(seconds(5)));
    await time.tickAsync(4_999);
    assert.equal(sleep.done, false);
    await time.tickAsync(1);
    assert.equal(sleep.done, true);
  });

  for (const wait of [2 ** 31 - 1, 2 ** 31, 2 ** 31 + 1, days(365)]) {
    it(`systemClock sleeps for ${wait} ms, near or beyond the limit of a single timer`, async () => {
      const sleep = watch(systemClock.sleep(milliseconds(wait)));
      await time.tickAsync(wait - 1);
      assert.equal(sleep.done, false);
      await time.tickAsync(2);
      assert.equal(sleep.done, true);
    });
  }

  it('systemClock ends a sleep on an abort and leaves no timer', async () => {
    const stop = new AbortController();
    const sleep = watch(systemClock.sleep(days(365), stop.signal));
    await time.tickAsync(days(30));
    assert.equal(sleep.done, false);
    stop.abort();
    await time.tickAsync(0);
    assert.equal(sleep.done, true);
    assert.equal(time.countTimers(), 0);
  });

  it('systemClock does not sleep if the signal is already aborted', async () => {
    await systemClock.sleep(days(365), AbortSignal.abort());
    assert.equal(time.countTimers(), 0);
  });

  it('systemClock removes its listeners from the signal after a sleep', async () => {
    const { signal } = new AbortController();
    const added = sinon.spy(signal, 'addEventListener');
    const removed = sinon.spy(signal, 'removeEventListener');
    const sleep = systemClock.sleep(seconds(1), signal);
    await time.tickAsync(1_000);
    await sleep;
    assert.equal(removed.callCount, added.callCount);
  });

  it('systemClock uses one timer for all sleeps that end in the same millisecond, and wakes each once', async () => {
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

  it('systemClock uses a separate timer for each short sleep, which is then exact', async () => {
    const sleeps = [systemClock.sleep(milliseconds(50)), systemClock.sleep(milliseconds(50))];
    assert.equal(time.countTimers(), 2);
    await time.tickAsync(50);
    await Promise.all(sleeps);
  });

  describe('within', () => {
    it('within settles as the work does', async () => {
      assert.equal(await systemClock.within(seconds(1), 'the work', Promise.resolve(7)), 7);
      await assert.rejects(systemClock.within(seconds(1), 'the work', Promise.reject(new Error('no'))), /^Error: no$/);
      assert.equal(time.countTimers(), 0);
    });

    it('within rejects if the work takes longer than its limit, and names the work', async () => {
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

    it('within accepts an answer that arrived while the process was held up until after the limit', async () => {
      const answer = new Promise((resolve) => setTimeout(resolve, 31_001, 'there'));
      const work = systemClock.within(seconds(30), 'the work', answer);
      await time.tickAsync(20_000);
      time.jump(11_000); // the timer of the limit is run first, 1,000 ms late
      await time.tickAsync(1);
      assert.equal(await work, 'there');
      assert.equal(time.countTimers(), 0);
    });

    it('within extends its limit only once if the process is held up twice', async () => {
      const rejects = assert.rejects(systemClock.within(seconds(3), 'the work', new Promise(() => {})), TimeLimitError);
      time.jump(1_000_000);
      await time.tickAsync(2_999);
      time.jump(1_000_000);
      await rejects;
      assert.equal(time.countTimers(), 0);
    });

    it('within ignores work that fails after its limit', async () => {
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

  it('elapsedOf includes suspended time if the clock provides it', () => {
    assert.equal(elapsedOf({ monotonic, sinceBoot: () => hours(50) }), hours(50));
  });

  it('elapsedOf otherwise returns the monotonic time and does not read the uptime of the container', () => {
    const uptime = sinon.stub(os, 'uptime').throws(new Error('asked for'));
    try {
      assert.equal(elapsedOf({ monotonic }), hours(2));
      assert.equal(elapsedOf({ monotonic, sinceBoot: () => undefined }), hours(2));
    } finally {
      uptime.restore();
    }
  });
});
