import assert from 'node:assert/strict';
import { type Clock, systemClock } from '../../src/core/base/clock.ts';
import { type Duration, milliseconds, minutes, seconds } from '../../src/core/base/duration.ts';
import { nextTurn } from '../../src/core/base/waiting.ts';
import { Pace } from '../../src/fleet/pace.ts';
import { ServiceFailure } from '../../src/fleet/service-failure.ts';

/** Sleeps take no time, but are noted. */
class SleepingClock implements Clock {
  readonly slept: number[] = [];
  #now = 0;
  now = systemClock.now;
  fromKernel = systemClock.fromKernel;
  within = systemClock.within;
  monotonic = () => milliseconds(this.#now);
  async sleep(wait: Duration): Promise<void> {
    this.slept.push(wait);
    this.#now += wait;
  }
}

const LIMIT = seconds(30);
const answered = (statusCode: number, headers: object = {}, responseBody = '') =>
  Object.assign(new Error('x'), { response: { statusCode, headers }, responseBody });

describe('The pace of requests to the hub', () => {
  let clock: SleepingClock;
  let stop: AbortController;
  let pace: Pace;
  beforeEach(() => {
    clock = new SleepingClock();
    stop = new AbortController();
    pace = new Pace({ clock, signal: stop.signal, random: () => 0 });
  });

  /** An attempt that fails as listed, and then succeeds. */
  const failing = (...errors: unknown[]) => {
    const left = [...errors];
    return async () => {
      if (left.length > 0) throw left.shift();
      return 'done';
    };
  };

  it('ends while the hub has not answered', async () => {
    const ended = pace.run(LIMIT, () => new Promise(() => setImmediate(() => stop.abort())));
    await assert.rejects(ended, { name: 'AbortError' });
  });

  it('is five at once', async () => {
    let running = 0;
    let most = 0;
    const release: (() => void)[] = [];
    const all = Array.from({ length: 12 }, () =>
      pace.run(LIMIT, async () => {
        running += 1;
        most = Math.max(most, running);
        await new Promise<void>((resolve) => release.push(resolve));
        running -= 1;
      }),
    );
    for (let ended = 0; ended < 12; ) {
      await nextTurn();
      const [next] = release.splice(0, 1);
      if (next === undefined) continue;
      next();
      ended += 1;
    }
    await Promise.all(all);
    assert.deepEqual([most, pace.counts.requests], [5, 12]);
  });

  it('waits as long as the hub says', async () => {
    assert.equal(await pace.run(LIMIT, failing(answered(429, { 'retry-after': '7' }))), 'done');
    assert.deepEqual([clock.slept, pace.counts], [[7_000], { requests: 2, throttled: 1, repeated: 0 }]);
  });

  it('waits longer each time, up to a minute, if the hub does not say, and gives up after 15 minutes', async () => {
    const errors = Array.from({ length: 9 }, () => answered(429));
    await pace.run(LIMIT, failing(...errors));
    assert.deepEqual(
      clock.slept,
      [1, 2, 4, 8, 16, 32, 60, 60, 60].map((each) => each * 1_000),
    );
    const endless = async () => {
      throw answered(429, { 'retry-after': '60' });
    };
    const began = clock.monotonic();
    await assert.rejects(pace.run(LIMIT, endless), { id: 'HUB_THROTTLED' });
    assert.ok(clock.monotonic() - began > minutes(15) && clock.monotonic() - began < minutes(17));
  });

  it('repeats what was not answered, or answered by 5xx, four times', async () => {
    const lost = () => Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' });
    assert.equal(await pace.run(LIMIT, failing(lost(), answered(503), lost(), answered(500))), 'done');
    await assert.rejects(pace.run(LIMIT, failing(...Array.from({ length: 5 }, lost))), { id: 'HUB_UNREACHABLE' });
    await assert.rejects(
      pace.run(LIMIT, failing(...Array.from({ length: 5 }, () => answered(500)))),
      (error) => error instanceof ServiceFailure && error.kind === 'broken',
    );
  });

  it('does not repeat what may have been carried out, if that is wanted', async () => {
    await assert.rejects(pace.run(LIMIT, failing(answered(504)), 'throttled'), { kind: 'broken', status: 504 });
    assert.equal(await pace.run(LIMIT, failing(answered(429)), 'throttled'), 'done');
  });

  it('gives an attempt that is not answered a limit', async () => {
    const silent = new Pace({ clock: systemClock, signal: stop.signal });
    const never = silent.run(milliseconds(10), () => new Promise(() => {}), 'throttled');
    await assert.rejects(never, { kind: 'unanswered', message: /took longer than 0.01 s/ });
  });

  it('ends what waits when it is told to', async () => {
    const aborting = async () => {
      stop.abort();
      throw answered(429);
    };
    await assert.rejects(pace.run(LIMIT, aborting), { name: 'AbortError' });
    await assert.rejects(pace.run(LIMIT, failing()), { name: 'AbortError' });
  });

  for (const [what, error, expected] of [
    ['401', answered(401, {}, '{"Message":"ErrorCode:IotHubUnauthorized;x"}'), { id: 'CREDENTIAL_REFUSED' }],
    [
      'a used up quota',
      answered(403, {}, '{"Message":"ErrorCode:IotHubQuotaExceeded;Total"}'),
      { id: 'HUB_QUOTA_EXCEEDED' },
    ],
    ['another 403', answered(403), { kind: 'refused', status: 403 }],
    [
      'JSON within JSON',
      answered(404, {}, JSON.stringify({ Message: JSON.stringify({ errorCode: 404103, message: 'not online' }) })),
      { kind: 'refused', message: '404 404103: not online' },
    ],
    ['HTML', answered(404, {}, '<html>'), { message: '404: <html>' }],
    ['nothing', answered(404), { message: '404: without a reason' }],
    ['a certificate', Object.assign(new Error('c'), { code: 'SELF_SIGNED_CERT_IN_CHAIN' }), { id: 'TLS_FAILED' }],
    ['no token', Object.assign(new Error('a\nb'), { name: 'CredentialUnavailableError' }), { message: /no token: a$/ }],
  ] as const)
    it(`reads ${what}`, () => assert.rejects(pace.run(LIMIT, failing(error)), expected));
});
