import assert from 'node:assert/strict';
import { Avoidance } from '../../../src/agent/reader/avoidance.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { days, hours, milliseconds, minutes, seconds } from '../../../src/core/base/duration.ts';

describe('Avoidance', () => {
  let now: number;
  let avoidance: Avoidance;

  beforeEach(() => {
    now = days(400); // uptime: the limits must not depend on it
    avoidance = new Avoidance({ ...systemClock, monotonic: () => milliseconds(now) });
  });

  /** Kills ten children within nine seconds. @returns the rest that starts, in minutes */
  const killTen = () => {
    for (let kill = 1; kill < 10; kill += 1) {
      assert.equal(avoidance.killed(), false);
      now += seconds(1);
    }
    assert.equal(avoidance.killed(), true);
    return avoidance.restMs() / minutes(1);
  };

  it('starts a rest of a minute at the tenth kill within a minute, at any uptime', () => {
    assert.ok(avoidance.restMs() <= 0);
    assert.equal(killTen(), 1);
    now += minutes(1);
    assert.ok(avoidance.restMs() <= 0);
  });

  it('starts no rest while fewer than ten kills happen within a minute', () => {
    for (let kill = 0; kill < 100; kill += 1) {
      assert.equal(avoidance.killed(), false);
      now += seconds(7);
    }
    assert.ok(avoidance.restMs() <= 0);
  });

  it('doubles the rest up to 16 minutes, and starts with a minute again after 30 minutes without a kill', () => {
    const rests = [1, 2, 3, 4, 5, 6].map(() => {
      const rest = killTen();
      now += minutes(rest);
      return rest;
    });
    assert.deepEqual(rests, [1, 2, 4, 8, 16, 16]);
    now += minutes(30 - 16);
    assert.equal(killTen(), 16);
    now += minutes(31);
    assert.equal(killTen(), 1);
  });

  it('avoids an owner for an hour after three hangs within ten minutes', () => {
    const subject = (id: string) => ({ id, owner: 'alice' });
    assert.equal(avoidance.hung(subject('a')), false);
    now += minutes(4);
    assert.equal(avoidance.hung(subject('b')), false);
    now += minutes(5);
    assert.equal(avoidance.hung(subject('c')), true);
    assert.equal(avoidance.avoids(subject('d')), true);
    assert.equal(avoidance.avoids({ id: 'd', owner: 'bob' }), false);
    now += hours(1) - 1;
    assert.equal(avoidance.avoids(subject('d')), true);
    now += 1;
    assert.equal(avoidance.avoids(subject('d')), false);
    assert.equal(avoidance.avoids(subject('a')), true); // the subject itself stays avoided
  });

  it('does not avoid an owner whose hangs are spread over more than ten minutes', () => {
    for (const id of ['a', 'b', 'c', 'd']) {
      assert.equal(avoidance.hung({ id, owner: 'alice' }), false);
      now += minutes(5);
    }
    assert.equal(avoidance.avoids({ id: 'e', owner: 'alice' }), false);
  });

  it('drops the oldest of more than 1,024 subjects', () => {
    for (let id = 0; id <= 1_024; id += 1) avoidance.hung({ id: `${id}` });
    assert.deepEqual(
      [0, 1, 1_024].map((id) => avoidance.avoids({ id: `${id}` })),
      [false, true, true],
    );
  });
});
