import assert from 'node:assert/strict';
import sinon from 'sinon';
import { systemClock } from '../../src/base/clock.ts';
import { days, minutes, seconds } from '../../src/base/duration.ts';
import type { LogLine } from '../../src/base/log.ts';
import { ChangeNotices } from '../../src/pipeline/notices.ts';
import { quietLog } from './memory-queues.ts';

describe('ChangeNotices', () => {
  let time: sinon.SinonFakeTimers;
  let told: LogLine[];
  let notices: ChangeNotices;

  beforeEach(async () => {
    time = sinon.useFakeTimers();
    told = [];
    notices = new ChangeNotices({ announce: (line) => told.push(line), clock: systemClock, log: quietLog() });
    await notices.start();
  });
  afterEach(async () => {
    await notices.stop();
    time.restore();
  });

  let version = 0;
  const change = (changes: Record<string, string>) => {
    version += 1;
    notices.accept({ time: new Date(), desiredVersion: version, changes });
  };

  it('tell each change by itself, with the names and what became of them', () => {
    version = 6;
    change({ eventPriorityLogin: 'High to Off', snapshotFrequency: 'PT13H to P365D' });
    assert.deepEqual(told, [
      {
        time: new Date(),
        level: 'info',
        message: 'Configuration changed',
        details: {
          Names: 'eventPriorityLogin;snapshotFrequency',
          Changes: 'eventPriorityLogin: High to Off; snapshotFrequency: PT13H to P365D',
          DesiredVersion: '7',
        },
      },
    ]);
  });

  it('are bounded when a twin flips back and forth, and count all of it', async () => {
    for (let second = 0; second < 86_400; second += 1) {
      change({ eventPriorityLogin: second % 2 === 0 ? 'High to Off' : 'Off to High' });
      await time.tickAsync(seconds(1));
    }
    await time.tickAsync(minutes(5));
    assert.ok(told.length >= 20 + 280 && told.length <= 20 + 290, String(told.length));
    const counted = told.reduce((all, { details }) => all + Number(details?.Count ?? 1), 0);
    assert.equal(counted, 86_400);
  });

  it('tell at once again after a rest', async () => {
    for (let n = 0; n < 30; n += 1) change({ [`name${n}`]: 'a to b' });
    assert.equal(told.length, 20);
    await time.tickAsync(minutes(5));
    assert.equal(told.length, 21);
    assert.equal(told[20]?.details?.Names?.split(';').length, 10);
    await time.tickAsync(days(1));
    change({ x: 'a to b' });
    assert.equal(told.length, 22);
  });

  it('tell the rest at the end', async () => {
    for (let n = 0; n < 25; n += 1) change({ x: 'a to b' });
    await notices.stop();
    assert.equal(told.length, 21);
    assert.equal(told[20]?.details?.Count, '5');
  });

  it('do not grow with what they tell', () => {
    change(Object.fromEntries(Array.from({ length: 60 }, (_, n) => [`property${n}`, `${'x'.repeat(64)} to y`])));
    assert.ok((told[0]?.details?.Changes?.length ?? 0) <= 2_049);
  });
});
