import assert from 'node:assert/strict';
import sinon from 'sinon';
import { systemClock } from '../../../src/core/base/clock.ts';
import { seconds } from '../../../src/core/base/duration.ts';
import { createLog, type LogLine } from '../../../src/core/base/log.ts';
import { keepGoing, Loop } from '../../../src/core/base/loop.ts';

describe('keepGoing', () => {
  let time: sinon.SinonFakeTimers;
  let stop: AbortController;
  let logged: LogLine[];

  beforeEach(() => {
    time = sinon.useFakeTimers();
    stop = new AbortController();
    logged = [];
  });
  afterEach(() => {
    stop.abort();
    time.restore();
  });

  const go = (turn: () => Promise<void>) =>
    keepGoing(turn, {
      signal: stop.signal,
      clock: systemClock,
      log: createLog({ level: 'silent', tap: { level: 'debug', accept: (line) => logged.push(line) } }),
    });

  it('keepGoing runs turn after turn until the signal aborts', async () => {
    let turns = 0;
    const done = go(async () => {
      turns += 1;
      await systemClock.sleep(seconds(5), stop.signal);
    });
    await time.tickAsync(seconds(12));
    stop.abort();
    await done;
    assert.equal(turns, 3);
    assert.deepEqual(logged, []);
  });

  it('keepGoing runs no turn if the signal is already aborted', async () => {
    stop.abort();
    await go(() => assert.fail('a turn'));
  });

  it('keepGoing continues one second after a turn that throws, and logs each error once', async () => {
    const messages = ['one', 'one', 'one', 'two', 'two'];
    let turns = 0;
    const done = go(async () => {
      turns += 1;
      throw new Error(messages[turns - 1] ?? 'two');
    });
    await time.tickAsync(seconds(4));
    assert.equal(turns, 5);
    assert.deepEqual(
      logged.map(({ level, id, message }) => [level, id, message]),
      [
        ['error', 'INTERNAL', 'Internal error; continuing. (one)'],
        ['error', 'INTERNAL', 'Internal error; continuing. (two)'],
      ],
    );
    stop.abort();
    await done;
    assert.equal(turns, 5);
  });
});

describe('Loop', () => {
  let time: sinon.SinonFakeTimers;

  beforeEach(() => {
    time = sinon.useFakeTimers();
  });
  afterEach(() => time.restore());

  const make = (turn: (signal: AbortSignal) => Promise<void>) =>
    new Loop(turn, { clock: systemClock, log: createLog({ level: 'silent' }) });

  it('a Loop runs turns from its start until it is stopped', async () => {
    let turns = 0;
    const loop = make(async (signal) => {
      turns += 1;
      await systemClock.sleep(seconds(5), signal);
    });
    await time.tickAsync(seconds(12));
    assert.equal(turns, 0);
    loop.start();
    await time.tickAsync(seconds(12));
    await loop.stop();
    await loop.stop();
    await time.tickAsync(seconds(12));
    assert.equal(turns, 3);
  });

  it('a Loop waits for the current turn when it is stopped', async () => {
    let ended = false;
    const loop = make(async () => {
      await systemClock.sleep(seconds(5));
      ended = true;
    });
    loop.start();
    const stopped = loop.stop().then(() => assert.ok(ended));
    await time.tickAsync(seconds(6));
    await stopped;
  });

  it('a Loop runs no turn if it is stopped before its start', async () => {
    const loop = make(() => assert.fail('a turn'));
    await loop.stop();
    loop.start();
    await loop.stop();
  });
});
