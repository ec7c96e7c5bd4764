import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import fc from 'fast-check';
import sinon from 'sinon';
import { systemClock } from '../../../src/core/base/clock.ts';
import { type Duration, hours, milliseconds, seconds } from '../../../src/core/base/duration.ts';
import { Alarm, LookNow, untilBeat, withEither } from '../../../src/core/base/waiting.ts';

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

  it('an Alarm wakes its sleeper after the requested time', async () => {
    await sleep(seconds(5));
    await time.tickAsync(4_999);
    assert.equal(woken, 0);
    await time.tickAsync(1);
    assert.equal(woken, 1);
  });

  it('an Alarm wakes its sleeper on a ring', async () => {
    await sleep();
    assert.equal(woken, 0);
    alarm.ring();
    await time.tickAsync(0);
    assert.equal(woken, 1);
    assert.equal(time.countTimers(), 0);
  });

  it('an Alarm remembers a ring between two sleeps', async () => {
    alarm.ring();
    await sleep();
    assert.equal(woken, 1);
  });

  it('an Alarm counts several rings between two sleeps as one', async () => {
    alarm.ring();
    alarm.ring();
    await sleep();
    await sleep();
    assert.equal(woken, 1);
  });

  it('an Alarm does not remember the ring that woke its sleeper', async () => {
    await sleep();
    alarm.ring();
    await time.tickAsync(0);
    await sleep();
    assert.equal(woken, 1);
  });

  it('an Alarm wakes its sleeper on an abort', async () => {
    await sleep();
    stop.abort();
    await time.tickAsync(0);
    assert.equal(woken, 1);
    assert.equal(time.countTimers(), 0);
  });

  it("an Alarm wakes its sleeper on every ring, and on an abort of that sleep's own signal only", async () => {
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

  it('an Alarm listens only to the signal of the last sleep, so that no other signal keeps it alive', async () => {
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

  it('an Alarm does not sleep after an abort', async () => {
    stop.abort();
    await sleep();
    assert.equal(woken, 1);
  });
});

const at = (now: number) => ({ monotonic: () => now as Duration });

describe('untilBeat', () => {
  it('untilBeat ends at a multiple of the pause, after 0.5 to 1.5 times the pause', () => {
    const pauses = fc.integer({ min: 1, max: 60_000 });
    fc.assert(
      fc.property(pauses, fc.integer({ min: 0, max: 1e12 }), (pause, now) => {
        const left = untilBeat(at(now), milliseconds(pause));
        assert.equal((now + left) % pause, 0);
        assert.ok(left >= pause / 2 && left <= pause * 1.5, `${left} of ${pause}`);
      }),
    );
  });

  it('untilBeat does not use one beat twice if a timer fires slightly early', () => {
    assert.equal(untilBeat(at(249.4), milliseconds(250)), 250.6);
  });

  it('untilBeat makes loops with different intervals and start times wake together', async () => {
    const time = sinon.useFakeTimers();
    try {
      const stop = new AbortController();
      const woken: number[] = [];
      const loop = async (begin: number, pause: Duration) => {
        await systemClock.sleep(milliseconds(begin), stop.signal);
        while (!stop.signal.aborted) {
          woken.push(systemClock.monotonic());
          await systemClock.sleep(untilBeat(systemClock, pause), stop.signal);
        }
      };
      void loop(18, milliseconds(250));
      void loop(60, milliseconds(250));
      void loop(130, seconds(1));
      await time.tickAsync(5_000);
      stop.abort();
      const later = woken.filter((moment) => moment > 1_000);
      assert.equal(later.length, 2 * 16 + 4);
      assert.equal(new Set(later).size, 16);
    } finally {
      time.restore();
    }
  });
});

describe('withEither', () => {
  let controllers: [AbortController, AbortController];
  beforeEach(() => {
    controllers = [new AbortController(), new AbortController()];
  });
  const signals = () => controllers.map(({ signal }) => signal) as [AbortSignal, AbortSignal];
  const listeners = () => signals().map((signal) => getEventListeners(signal, 'abort').length);

  for (const index of [0, 1] as const) {
    it(`withEither aborts when signal ${index + 1} does, with its reason`, async () => {
      await withEither(signals(), async (either) => {
        assert.equal(either.aborted, false);
        controllers[index].abort('why');
        assert.deepEqual([either.aborted, either.reason], [true, 'why']);
      });
    });

    it(`withEither passes an aborted signal if signal ${index + 1} is already aborted`, async () => {
      controllers[index].abort('why');
      await withEither(signals(), async (either) => assert.deepEqual([either.aborted, either.reason], [true, 'why']));
      assert.deepEqual(listeners(), [0, 0]);
    });
  }

  it('withEither keeps the reason of the first abort', async () => {
    for (const controller of controllers) controller.abort(controller);
    await withEither(signals(), async (either) => assert.equal(either.reason, controllers[0]));
  });

  it('withEither leaves no listener whether the work succeeds or fails', async () => {
    const work = async () => {
      assert.deepEqual(listeners(), [1, 1]);
      return 'done';
    };
    assert.equal(await withEither(signals(), work), 'done');
    assert.deepEqual(listeners(), [0, 0]);
    await assert.rejects(
      withEither(signals(), () => Promise.reject(new Error('failed'))),
      /failed/,
    );
    assert.deepEqual(listeners(), [0, 0]);
  });

  it('withEither ignores aborts after the work has ended', async () => {
    const either = await withEither(signals(), async (signal) => signal);
    controllers[0].abort();
    assert.equal(either.aborted, false);
  });
});

describe('LookNow', () => {
  let time: sinon.SinonFakeTimers;
  let lookNow: LookNow;
  let looks: number;

  beforeEach(() => {
    time = sinon.useFakeTimers();
    lookNow = new LookNow(systemClock);
    looks = 0;
    lookNow.on(() => {
      looks += 1;
    });
  });
  afterEach(() => time.restore());

  it('passes the first request on at once, to all listeners', () => {
    let secondLooks = 0;
    lookNow.on(() => {
      secondLooks += 1;
    });
    lookNow.ask();
    assert.deepEqual([looks, secondLooks], [1, 1]);
  });

  it('makes one look a second of a storm of requests, and one after the last request', async () => {
    for (let request = 0; request < 495; request += 1) {
      lookNow.ask();
      await time.tickAsync(10);
    }
    assert.equal(looks, 5);
    await time.tickAsync(hours(1));
    assert.equal(looks, 6);
    assert.equal(time.countTimers(), 0);
  });

  it('passes a request on at once if the last look was a second ago', async () => {
    lookNow.ask();
    await time.tickAsync(1_000);
    assert.equal(looks, 1);
    lookNow.ask();
    assert.equal(looks, 2);
  });
});
