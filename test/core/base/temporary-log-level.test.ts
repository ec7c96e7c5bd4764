import assert from 'node:assert/strict';
import sinon from 'sinon';
import { systemClock } from '../../../src/core/base/clock.ts';
import { hours, milliseconds, minutes } from '../../../src/core/base/duration.ts';
import { AdjustableLevel } from '../../../src/core/base/log.ts';
import { TemporaryLogLevel } from '../../../src/core/base/temporary-log-level.ts';
import { quietLog } from '../../agent/pipeline/memory-queues.ts';

describe('TemporaryLogLevel', () => {
  let time: sinon.SinonFakeTimers;
  let level: AdjustableLevel;
  let temporary: TemporaryLogLevel;
  beforeEach(async () => {
    time = sinon.useFakeTimers({ now: new Date('2026-05-01T12:00:00Z') });
    level = new AdjustableLevel('info');
    temporary = new TemporaryLogLevel({ level, clock: systemClock, log: quietLog() });
    await temporary.start();
  });
  afterEach(async () => {
    await temporary.stop();
    time.restore();
  });

  it('TemporaryLogLevel changes the level, shows it in the status, and restores it', async () => {
    assert.equal(temporary.status(), undefined);
    const changed = { level: 'debug', until: '2026-05-01T13:00:00.000Z', afterwards: 'info' };
    assert.deepEqual(temporary.set('debug', hours(1)), changed);
    assert.deepEqual([level.current, temporary.status()], ['debug', changed]);
    await time.tickAsync(hours(1) - 1);
    assert.equal(level.current, 'debug');
    await time.tickAsync(1);
    assert.deepEqual([level.current, temporary.status()], ['info', undefined]);
  });

  it('TemporaryLogLevel restores the level on time on a device that was suspended', async () => {
    let suspended = 0;
    const sinceBoot = () => milliseconds(performance.now() + suspended);
    await temporary.stop();
    temporary = new TemporaryLogLevel({ level, clock: { ...systemClock, sinceBoot }, log: quietLog() });
    await temporary.start();
    temporary.set('trace', hours(8));
    await time.tickAsync(hours(1));
    assert.equal(level.current, 'trace');
    suspended = hours(7);
    await time.tickAsync(minutes(1));
    assert.deepEqual([level.current, temporary.status()], ['info', undefined]);
  });

  it('TemporaryLogLevel restores the level of the local file after any number of changes', async () => {
    temporary.set('debug', hours(1));
    await time.tickAsync(minutes(1));
    temporary.set('error', minutes(1));
    assert.equal(temporary.status()?.afterwards, 'info');
    await time.tickAsync(minutes(1));
    assert.equal(level.current, 'info');
    await time.tickAsync(hours(48));
    temporary.set('trace', minutes(1));
    await time.tickAsync(minutes(1));
    assert.equal(level.current, 'info');
  });
});
