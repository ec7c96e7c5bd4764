import assert from 'node:assert/strict';
import sinon from 'sinon';
import { Alarm } from '../../../src/core/base/alarm.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { hours, seconds } from '../../../src/core/base/duration.ts';

describe('Alarm', () => {
  let time: sinon.SinonFakeTimers;
  let stop: AbortController;
  let alarm: Alarm;
  let woken: number;

  beforeEach(() => {
    time = sinon.useFakeTimers();
    stop = new AbortController();
    alarm = new Alarm();
    woken = 0;
  });
  afterEach(() => time.restore());

  const sleep = (wait = hours(1)) => {
    void alarm.sleep(systemClock, wait, stop.signal).then(() => {
      woken += 1;
    });
    return time.tickAsync(0);
  };

  it('wakes when the time has come', async () => {
    await sleep(seconds(5));
    await time.tickAsync(4_999);
    assert.equal(woken, 0);
    await time.tickAsync(1);
    assert.equal(woken, 1);
  });

  it('wakes at a ring', async () => {
    await sleep();
    assert.equal(woken, 0);
    alarm.ring();
    await time.tickAsync(0);
    assert.equal(woken, 1);
    assert.equal(time.countTimers(), 0);
  });

  it('remembers a ring that came while nobody slept', async () => {
    alarm.ring();
    await sleep();
    assert.equal(woken, 1);
  });

  it('counts several such rings as one', async () => {
    alarm.ring();
    alarm.ring();
    await sleep();
    await sleep();
    assert.equal(woken, 1);
  });

  it('does not keep the ring that woke it', async () => {
    await sleep();
    alarm.ring();
    await time.tickAsync(0);
    await sleep();
    assert.equal(woken, 1);
  });

  it('wakes at an abort', async () => {
    await sleep();
    stop.abort();
    await time.tickAsync(0);
    assert.equal(woken, 1);
    assert.equal(time.countTimers(), 0);
  });

  it('wakes again and again, at rings and at the abort of the signal of that sleep only', async () => {
    for (let round = 1; round <= 3; round += 1) {
      await sleep();
      alarm.ring();
      await time.tickAsync(0);
      assert.equal(woken, round);
    }
    const before = stop;
    stop = new AbortController();
    await sleep();
    before.abort();
    await time.tickAsync(0);
    assert.equal(woken, 3);
    stop.abort();
    await time.tickAsync(0);
    assert.equal(woken, 4);
  });

  it('listens to the signal of the last sleep only, so that it is not kept by others', async () => {
    const signals = [0, 1, 2].map(() => new AbortController().signal);
    const counts = signals.map((signal) => [
      sinon.spy(signal, 'addEventListener'),
      sinon.spy(signal, 'removeEventListener'),
    ]);
    for (const signal of [...signals, ...signals.slice(2)]) {
      void alarm.sleep(systemClock, seconds(1), signal);
      await time.tickAsync(1_000);
    }
    assert.deepEqual(
      counts.map((spies) => spies.map(({ callCount }) => callCount)),
      [
        [1, 1],
        [1, 1],
        [1, 0],
      ],
    );
  });

  it('does not sleep after an abort', async () => {
    stop.abort();
    await sleep();
    assert.equal(woken, 1);
  });
});
