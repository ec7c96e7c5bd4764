import assert from 'node:assert/strict';
import { SendBackoff } from '../../../src/agent/pipeline/send-backoff.ts';
import { type Clock, systemClock } from '../../../src/core/base/clock.ts';
import { type Duration, hours, milliseconds, minutes, seconds } from '../../../src/core/base/duration.ts';
import { AgentError } from '../../../src/core/base/errors.ts';
import type { Retry } from '../../../src/core/contract/hub.ts';

const ERROR = new AgentError('HUB_UNREACHABLE', 'no answer', 'Wait.');
const failure = (retryCause: Retry['retryCause'], more: Partial<Retry> = {}): Retry => ({
  status: 'retry',
  retryCause,
  error: ERROR,
  ...more,
});

describe('SendBackoff', () => {
  let wall: number;
  let monotonic: number;
  const clock: Clock = { ...systemClock, now: () => new Date(wall), monotonic: () => milliseconds(monotonic) };
  const pass = (time: Duration) => {
    wall += time;
    monotonic += time;
  };

  beforeEach(() => {
    wall = Date.parse('2026-03-04T15:00:00Z');
    monotonic = 1_000;
  });

  it('waits for nothing at first, and not after a success', () => {
    const backoff = new SendBackoff(clock, () => 0.5);
    assert.ok(backoff.left <= 0);
    backoff.failed(failure('network'));
    assert.equal(backoff.left, seconds(15));
    pass(seconds(15));
    assert.equal(backoff.left, 0);
    backoff.succeeded();
    assert.equal(backoff.failed(failure('network')), seconds(15), 'starts small again');
  });

  it('never waits less than the hub asks for', () => {
    for (const retryCause of ['network', 'throttled', 'credentials', 'quota'] as const) {
      const backoff = new SendBackoff(clock, () => 0);
      const wait = backoff.failed(failure(retryCause, { after: hours(2) }));
      assert.ok(wait >= hours(2), retryCause);
    }
  });

  describe('a new connection', () => {
    it('is worth a try at once', () => {
      const backoff = new SendBackoff(clock);
      for (const retryCause of ['network', 'credentials'] as const) {
        backoff.failed(failure(retryCause));
        backoff.reconnected('hub');
        assert.ok(backoff.left <= 0);
      }
    });

    it('does not help a hub that is too busy, or whose quota is used up', () => {
      for (const retryCause of ['throttled', 'quota'] as const) {
        const backoff = new SendBackoff(clock, () => 0.5);
        backoff.failed(failure(retryCause));
        backoff.reconnected('hub');
        assert.ok(backoff.left > 0);
      }
    });

    it('ends every wait when it leads to another hub', () => {
      for (const retryCause of ['throttled', 'quota', 'network'] as const) {
        const backoff = new SendBackoff(clock, () => 0.5);
        backoff.reconnected('hub');
        for (let n = 0; n < 3; n += 1) backoff.failed(failure(retryCause, { unanswered: true }));
        backoff.reconnected('hub');
        assert.ok(backoff.left > 0);
        backoff.reconnected('other');
        assert.ok(backoff.left <= 0);
      }
    });

    it('a new connection does not shorten the wait if several messages in a row were not answered', () => {
      const backoff = new SendBackoff(clock, () => 0.5);
      backoff.failed(failure('network', { unanswered: true }));
      backoff.reconnected('hub');
      assert.ok(backoff.left <= 0);
      backoff.failed(failure('network', { unanswered: true }));
      backoff.reconnected('hub');
      assert.ok(backoff.left >= seconds(10));
      backoff.succeeded();
      backoff.failed(failure('network', { unanswered: true }));
      backoff.reconnected('hub');
      assert.ok(backoff.left <= 0);
    });
  });

  describe('a quota that is used up', () => {
    it('is waited for until the next UTC day, and up to half an hour longer', () => {
      assert.equal(new SendBackoff(clock, () => 0).failed(failure('quota')), hours(9));
      assert.equal(new SendBackoff(clock, () => 0.5).failed(failure('quota')), hours(9) + minutes(15));
    });

    it('is asked for again within the hour when midnight has just passed: clocks differ', () => {
      wall = Date.parse('2026-03-05T00:20:00Z');
      assert.equal(new SendBackoff(clock, () => 0).failed(failure('quota')), minutes(40));
    });

    it('ends earlier when the wall clock is set forward', () => {
      const backoff = new SendBackoff(clock, () => 0);
      backoff.failed(failure('quota'));
      wall += hours(8);
      assert.equal(backoff.left, hours(1));
      wall += hours(24 * 365 * 10);
      assert.ok(backoff.left <= 0);
    });

    it('ends after a day at most, wherever the wall clock is set', () => {
      for (const set of ['1970-01-01T00:00:00Z', '2016-03-04T15:00:00Z', '2026-03-04T23:59:59Z']) {
        const backoff = new SendBackoff(clock, () => 1 - Number.EPSILON);
        backoff.failed(failure('quota'));
        wall = Date.parse(set);
        pass(hours(24));
        assert.ok(backoff.left <= 0, set);
      }
    });
  });
});
