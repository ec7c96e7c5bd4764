import assert from 'node:assert/strict';
import sinon from 'sinon';
import { Lifeline, statusLine } from '../../src/agent/lifeline.ts';
import type { LocalStatus } from '../../src/agent/status/schema.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { type Duration, hours, minutes, seconds } from '../../src/core/base/duration.ts';
import { createLog, type LogLine } from '../../src/core/base/log.ts';
import { WatchedClock } from '../../src/core/base/watched-clock.ts';

type Shown = Pick<LocalStatus, 'state' | 'hub' | 'delivery'>;

const shown = (change: Partial<Shown> = {}): LocalStatus =>
  ({
    state: 'running',
    hub: { state: 'connected' },
    delivery: { queued: { highEvents: 1, highBytes: 9, lowEvents: 11, lowBytes: 9 }, dropped: {} },
    ...change,
  }) as LocalStatus;

describe('the lifeline', () => {
  let time: sinon.SinonFakeTimers;
  let notifications: string[];
  /** Whether the service manager's queue is full. */
  let isFull: boolean;
  let looks: number;
  let logged: LogLine[];
  let status: LocalStatus;
  let part: WatchedClock;
  let lifeline: Lifeline;

  const notify = (...lines: readonly string[]) => {
    notifications.push(...lines);
    return !isFull;
  };
  const open = async (watchdog?: Duration, isAbsent = false) => {
    lifeline = new Lifeline({
      manager: { isAbsent, ...(watchdog === undefined ? {} : { watchdog }), notify },
      moving: { publisher: part },
      status: () => {
        looks += 1;
        return status;
      },
      clock: systemClock,
      log: createLog({ level: 'silent', tap: { level: 'info', accept: (line) => logged.push(line) } }),
    });
    await lifeline.start();
  };
  const pings = () => notifications.filter((line) => line === 'WATCHDOG=1').length;

  beforeEach(() => {
    time = sinon.useFakeTimers();
    notifications = [];
    isFull = false;
    looks = 0;
    logged = [];
    status = shown();
    part = new WatchedClock(systemClock);
  });
  afterEach(async () => {
    await lifeline.stop();
    time.restore();
  });

  it('notifies systemd of the start, sends watchdog signals and the status', async () => {
    await open(seconds(120));
    assert.deepEqual(notifications, [
      'READY=1',
      'WATCHDOG=1',
      'STATUS=Running, connected to the hub; 12 events queued, 0 dropped.',
    ]);
  });

  it('repeats READY and the status with each watchdog signal until they are accepted', async () => {
    isFull = true;
    await open(seconds(120));
    await time.tickAsync(minutes(1));
    const readies = () => notifications.filter((line) => line === 'READY=1').length;
    assert.equal(readies(), 7);
    isFull = false;
    await time.tickAsync(minutes(2));
    assert.equal(readies(), 8);
    assert.equal(notifications.filter((line) => line.startsWith('STATUS=')).length, 3);
  });

  it('gives a sign of life four times in the time that the watchdog waits', async () => {
    await open(seconds(8));
    await time.tickAsync(seconds(80));
    assert.equal(pings(), 41);
  });

  it('gives one every ten seconds to a watchdog that waits for long', async () => {
    await open(hours(1));
    await time.tickAsync(minutes(10));
    assert.equal(pings(), 61);
  });

  it('sends the status only when it has changed', async () => {
    await open();
    await time.tickAsync(minutes(2));
    status = shown({ state: 'degraded' });
    await time.tickAsync(minutes(1));
    assert.deepEqual(
      notifications.filter((line) => line.startsWith('STATUS=')),
      [
        'STATUS=Running, connected to the hub; 12 events queued, 0 dropped.',
        'STATUS=Degraded, connected to the hub; 12 events queued, 0 dropped.',
      ],
    );
  });

  it('looks at its status once a minute, and within ten seconds of a change', async () => {
    await open(hours(1));
    await time.tickAsync(minutes(10));
    assert.equal(looks, 11);
    lifeline.changed();
    lifeline.changed();
    await time.tickAsync(seconds(10));
    assert.equal(looks, 12);
  });

  it('does not look where no service manager reads it', async () => {
    await open(undefined, true);
    await time.tickAsync(minutes(10));
    lifeline.changed();
    await time.tickAsync(minutes(1));
    assert.equal(looks, 0);
  });

  it('stops notifying the watchdog when a component hangs, and logs it once', async () => {
    await open(seconds(120));
    void part.sleep(seconds(1)); // after which it does something without end
    await time.tickAsync(minutes(10));
    const alive = pings();
    assert.equal(alive, 61);
    await time.tickAsync(minutes(5));
    assert.ok(pings() - alive <= 2, `${pings() - alive} more`);
    assert.equal(
      notifications.at(-1),
      'STATUS=Hung: the part "publisher" has stopped; waiting for the watchdog restart.',
    );
    assert.deepEqual(
      logged.map(({ level }) => level),
      ['error'],
    );
  });

  it('continues if the hung component recovers before its time limit', async () => {
    await open(hours(1));
    void part.sleep(seconds(1));
    await time.tickAsync(minutes(12));
    const before = pings();
    part.moves();
    await time.tickAsync(minutes(5));
    assert.ok(pings() > before);
    assert.match(notifications.at(-1) ?? '', /WATCHDOG=1/);
  });

  it('does not take a part for hung that rests for half a day', async () => {
    await open(seconds(120));
    void part.sleep(hours(13));
    await time.tickAsync(hours(12));
    assert.equal(pings(), 12 * 360 + 1);
  });

  it('does not take a part for hung that was stopped in its work with the whole process', async () => {
    await open(seconds(120));
    void part.sleep(seconds(1));
    await time.tickAsync(seconds(1));
    const before = pings();
    time.jump(hours(1)); // a stopped process: every timer is late, and fires once
    await time.tickAsync(0);
    assert.equal(pings(), before + 1);
    part.moves(); // it finishes a moment later
    await time.tickAsync(minutes(1));
    assert.ok(pings() > before + 5);
    assert.deepEqual(logged, []);
  });

  it('sends STOPPING before any other service stops', async () => {
    await open();
    await lifeline.stop();
    assert.deepEqual(notifications.slice(-2), ['STOPPING=1', 'STATUS=Stopping: sends what it can in ten seconds.']);
    await time.tickAsync(minutes(5));
    assert.equal(notifications.at(-1), 'STATUS=Stopping: sends what it can in ten seconds.');
  });
});

describe('the status line', () => {
  for (const [line, status] of Object.entries({
    'Running, connected to the hub; 12 events queued, 0 dropped.': shown(),
    'Degraded, not connected to the hub (no route to contoso); 12 events queued, 7 dropped.': shown({
      state: 'degraded',
      hub: { state: 'connecting', error: 'no route to contoso' },
      delivery: { ...shown().delivery, dropped: { kernel: 3, cacheFull: 4 } },
    }),
    'Paused, refused by the hub (odd · text); 12 events queued, 0 dropped.': shown({
      state: 'paused',
      hub: { state: 'refused', error: 'odd \n text' },
    }),
  })) {
    it(line, () => assert.equal(statusLine(status), line));
  }
});
