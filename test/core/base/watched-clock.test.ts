import assert from 'node:assert/strict';
import sinon from 'sinon';
import { systemClock } from '../../../src/core/base/clock.ts';
import { hours, minutes, seconds } from '../../../src/core/base/duration.ts';
import { createLog } from '../../../src/core/base/log.ts';
import { keepGoing } from '../../../src/core/base/loop.ts';
import { WatchedClock } from '../../../src/core/base/watched-clock.ts';

describe('a watched clock', () => {
  let time: sinon.SinonFakeTimers;
  let clock: WatchedClock;
  const stoodFor = () => clock.monotonic() - clock.lastMoved();

  beforeEach(() => {
    time = sinon.useFakeTimers();
    clock = new WatchedClock(systemClock);
  });
  afterEach(() => time.restore());

  it('a part that has not started does not count as hung', async () => {
    await time.tickAsync(hours(1));
    assert.equal(stoodFor(), 0);
  });

  it('a part counts as alive for as long as it sleeps', async () => {
    void clock.sleep(hours(13));
    await time.tickAsync(hours(12));
    assert.equal(stoodFor(), 0);
  });

  it('a watched clock shows for how long a part has been working since its last sleep', async () => {
    void clock.sleep(seconds(1));
    await time.tickAsync(seconds(1));
    await time.tickAsync(minutes(5));
    assert.equal(stoodFor(), minutes(5));
  });

  it('a part counts as sleeping while one of its sleeps continues, even if another has ended', async () => {
    void clock.sleep(seconds(1));
    void clock.sleep(hours(1));
    await time.tickAsync(minutes(30));
    assert.equal(stoodFor(), 0);
  });

  it('a part that waits for work does not count as sleeping', async () => {
    const done = clock.within(hours(1), 'an answer', new Promise(() => {}));
    done.catch(() => {});
    await time.tickAsync(minutes(20));
    assert.equal(stoodFor(), minutes(20));
    await time.tickAsync(minutes(40));
    assert.equal(stoodFor(), 0); // its limit has ended it
  });

  it('a watched clock ignores changes of the wall clock', async () => {
    void clock.sleep(seconds(1));
    await time.tickAsync(seconds(1));
    time.setSystemTime(new Date('2040-01-01T00:00:00Z'));
    assert.equal(stoodFor(), 0);
  });

  it('a loop that never sleeps counts as alive until one of its turns hangs', async () => {
    const stop = new AbortController();
    let release = () => {};
    const turn = () => new Promise<void>((resolve) => (release = resolve));
    const loop = keepGoing(turn, { signal: stop.signal, clock, log: createLog({ level: 'silent' }) });
    for (let turns = 0; turns < 10; turns += 1) {
      await time.tickAsync(minutes(4));
      release();
      await time.tickAsync(0);
      assert.equal(stoodFor(), 0);
    }
    await time.tickAsync(minutes(15));
    assert.equal(stoodFor(), minutes(15)); // this turn hangs
    stop.abort();
    release();
    await loop;
  });
});
