import assert from 'node:assert/strict';
import sinon from 'sinon';
import { Silence } from '../../../../src/agent/detections/alerts/silence.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';
import { days, hours, minutes } from '../../../../src/core/base/duration.ts';

const START = new Date('2026-05-01T12:00:00.000Z');
const at = (span: number) => new Date(START.getTime() + span).toISOString();

describe('Silence', () => {
  let time: sinon.SinonFakeTimers;
  let silence: Silence;

  beforeEach(() => {
    time = sinon.useFakeTimers({ now: START });
    silence = new Silence(systemClock);
  });
  afterEach(() => time.restore());

  it('ends at the given time', () => {
    assert.equal(silence.isInForce(''), false);
    assert.equal(silence.isInForce(at(hours(2))), true);
    time.tick(hours(2) - 1);
    assert.equal(silence.isInForce(at(hours(2))), true);
    time.tick(1);
    assert.equal(silence.isInForce(at(hours(2))), false);
    assert.equal(silence.isRefused(at(hours(2))), false);
  });

  it('ends at most seven days ahead, and does not start later by itself', () => {
    assert.equal(silence.isInForce(at(days(7))), true);
    const far = at(days(7) + 1);
    assert.deepEqual([silence.isInForce(far), silence.isRefused(far)], [false, true]);
    time.tick(days(3));
    assert.deepEqual([silence.isInForce(far), silence.isRefused(far)], [false, true]);
    const next = new Silence(systemClock);
    next.restore(JSON.parse(JSON.stringify(silence.toJson())));
    assert.equal(next.isInForce(far), false);
  });

  it('needs saving once for each new value', () => {
    let decisions = 0;
    silence = new Silence(systemClock, () => {
      decisions += 1;
    });
    const decided = ['', at(days(9)), at(days(9)), at(hours(1)), at(hours(1)), ''].map((until) => {
      silence.isInForce(until);
      silence.isRefused(until);
      return decisions;
    });
    assert.deepEqual(decided, [0, 1, 1, 2, 2, 3]);
  });

  it('ends by the monotonic clock, regardless of the wall clock', () => {
    silence.isInForce(at(hours(2)));
    time.setSystemTime(START.getTime() - days(100));
    assert.equal(silence.isInForce(at(hours(2))), true);
    time.tick(hours(2));
    assert.equal(silence.isInForce(at(hours(2))), false);
  });

  it('does not start while the clock is not set', () => {
    time.setSystemTime(0);
    const until = '1970-01-02T00:00:00Z';
    assert.deepEqual([silence.isInForce(until), silence.isRefused(until)], [false, true]);
  });

  it('continues after a restart, without being extended', () => {
    const restarted = () => {
      const next = new Silence(systemClock);
      next.restore(JSON.parse(JSON.stringify(silence.toJson())));
      return next;
    };
    silence.isInForce(at(hours(2)));
    time.tick(hours(1));
    assert.equal(restarted().isInForce(at(hours(2))), true);
    time.setSystemTime(START.getTime() - hours(50));
    const next = restarted();
    time.tick(hours(1) - 1);
    assert.equal(next.isInForce(at(hours(2))), true);
    time.tick(1);
    assert.equal(next.isInForce(at(hours(2))), false);
    const before = new Silence(systemClock);
    time.setSystemTime(START);
    before.isInForce(at(hours(2)));
    const kept = before.toJson();
    time.setSystemTime(START.getTime() + hours(2));
    const late = new Silence(systemClock);
    late.restore(kept);
    assert.equal(late.isInForce(at(hours(2))), false);
    for (const damaged of [null, 5, {}, { until: at(hours(9)), leftMs: days(30) }, { until: 5, leftMs: 1 }]) {
      const fresh = new Silence(systemClock);
      fresh.restore(damaged);
      assert.equal(fresh.isInForce(at(minutes(-60 * 60))), false);
    }
  });
});
