import assert from 'node:assert/strict';
import fc from 'fast-check';
import sinon from 'sinon';
import { untilBeat } from '../../../src/core/base/beat.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { type Duration, milliseconds, seconds } from '../../../src/core/base/duration.ts';

const at = (now: number) => ({ monotonic: () => now as Duration });

describe('untilBeat', () => {
  it('ends at a multiple of the pause, after half of it at least', () => {
    const pauses = fc.integer({ min: 1, max: 60_000 });
    fc.assert(
      fc.property(pauses, fc.integer({ min: 0, max: 1e12 }), (pause, now) => {
        const left = untilBeat(at(now), milliseconds(pause));
        assert.equal((now + left) % pause, 0);
        assert.ok(left >= pause / 2 && left <= pause * 1.5, `${left} of ${pause}`);
      }),
    );
  });

  it('does not keep one beat twice when a timer ends a little early', () => {
    assert.equal(untilBeat(at(249.4), milliseconds(250)), 250.6);
  });

  it('has loops of different paces, begun at different times, wake together', async () => {
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
