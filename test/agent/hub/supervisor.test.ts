import assert from 'node:assert/strict';
import sinon from 'sinon';
import { type Connection, Supervisor } from '../../../src/agent/hub/supervisor.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { type Duration, hours, minutes, seconds } from '../../../src/core/base/duration.ts';
import { AgentError } from '../../../src/core/base/errors.ts';
import { HubFailure, type RetryCause } from '../../../src/core/contract/hub.ts';

describe('Supervisor', () => {
  const failure = (cause: RetryCause) =>
    new HubFailure(
      new AgentError(cause === 'credentials' ? 'CREDENTIAL_REFUSED' : 'HUB_UNREACHABLE', cause, ''),
      cause,
    );

  /** A connection in the test's hand. */
  class Stand implements Connection {
    lose: (failure: HubFailure) => void = () => {};
    readonly lost = new Promise<HubFailure>((resolve) => {
      this.lose = resolve;
    });
    checkPulse = sinon.stub();
    close = sinon.stub().resolves();
    free: () => void = () => {};
    idle = sinon.stub().resolves();
    answered = sinon.stub().resolves();
    /** As while something is on its way. */
    occupy() {
      this.idle.returns(
        new Promise<void>((resolve) => {
          this.free = resolve;
        }),
      );
    }
  }

  let time: sinon.SinonFakeTimers;
  let stop: AbortController;
  let done: Promise<void>;
  let connect: sinon.SinonStub<[AbortSignal], Promise<Stand>>;
  let stands: Stand[];
  /** Times of the attempts in seconds. */
  let attempts: number[];
  let outcome: (attempt: number) => RetryCause | undefined;
  const onFailure = sinon.stub();
  const onConnected = sinon.stub();
  const onStable = sinon.stub();
  let states: string[];
  let prepare: sinon.SinonStub<[AbortSignal], Promise<undefined>>;
  /** What the next attempt has another of. */
  let other: 'credential' | 'transport' | undefined;
  let renewAfter: Duration | undefined;

  beforeEach(() => {
    prepare = sinon.stub<[AbortSignal], Promise<undefined>>().resolves();
    other = undefined;
    renewAfter = minutes(45);
    time = sinon.useFakeTimers({ now: new Date('2026-01-01T00:00:00Z') });
    stop = new AbortController();
    stands = [];
    attempts = [];
    states = [];
    outcome = () => undefined;
    for (const stub of [onFailure, onConnected, onStable]) stub.reset();
    connect = sinon.stub<[AbortSignal], Promise<Stand>>().callsFake(async () => {
      attempts.push(performance.now() / 1_000);
      const retryCause = outcome(attempts.length);
      if (retryCause !== undefined) throw failure(retryCause);
      const stand = new Stand();
      stands.push(stand);
      return stand;
    });
  });
  afterEach(async () => {
    stop.abort();
    await time.tickAsync(0);
    await done;
    time.restore();
  });

  const start = (random = () => 0.5, nextHasOther = () => other) => {
    const supervisor = new Supervisor<undefined, Stand>({
      prepare,
      open: (_, signal) => connect(signal),
      nextHasOther,
      renewAfter: () => renewAfter,
      clock: systemClock,
      random,
      onChange: () => states.push(supervisor.state),
      onFailure,
      onConnected,
      onStable,
    });
    done = supervisor.run(stop.signal);
    return supervisor;
  };
  /** The latest connection. */
  const current = () => stands.at(-1) as Stand;

  it('connects and reports it', async () => {
    const supervisor = start();
    await time.tickAsync(0);
    assert.equal(supervisor.state, 'connected');
    assert.equal(await supervisor.connection(), current());
    assert.equal(onConnected.callCount, 1);
  });

  it('makes a new connection after every loss', async () => {
    const supervisor = start();
    await time.tickAsync(minutes(2));
    current().lose(failure('network'));
    await time.tickAsync(0);
    assert.equal(supervisor.state, 'connecting');
    assert.equal(supervisor.error?.id, 'HUB_UNREACHABLE');
    assert.equal(await supervisor.connection(), undefined);
    await time.tickAsync(seconds(2));
    assert.equal(stands.length, 2);
    assert.equal(await supervisor.connection(), current());
    assert.deepEqual(states, ['connected', 'connecting', 'connected']);
  });

  const assertPace = (least = 41) => {
    assert.ok(attempts.length >= least, `${attempts.length} attempts`);
    for (const [index, at] of attempts.entries()) {
      const seventh = attempts[index + 6];
      assert.ok(seventh === undefined || seventh - at >= 60, `${attempts.slice(index, index + 7)}`);
    }
  };

  for (const random of [0, 0.5, 0.999]) {
    it(`never tries more than six times in a minute without a network (random ${random})`, async () => {
      outcome = () => 'network';
      start(() => random);
      await time.tickAsync(minutes(30));
      assertPace(20);
    });
  }

  it('never tries more than six times in a minute against a second agent that takes the connection away', async () => {
    start(() => 0);
    for (let turn = 0; turn < 600; turn++) {
      await time.tickAsync(seconds(1));
      stands.at(-1)?.lose(failure('network'));
    }
    assert.ok(attempts.length <= 61, `${attempts.length} attempts in ten minutes`);
  });

  for (const random of [0, 0.999]) {
    it(`retries refused credentials after 1, 2, 5 and then every 10 minutes (random ${random})`, async () => {
      outcome = () => 'credentials';
      const supervisor = start(() => random);
      await time.tickAsync(seconds(30));
      assert.equal(attempts.length, 3);
      assert.equal(supervisor.state, 'refused');
      await time.tickAsync(minutes(45));
      const delays = attempts.slice(2, 8).map((at, index) => (attempts[index + 3] ?? Number.NaN) - at);
      for (const [index, delay] of [1, 2, 5, 10, 10].entries()) {
        const least = delay * 60 * (1 + 0.1 * random) - 1;
        assert.ok((delays[index] ?? 0) >= least && (delays[index] ?? 0) <= least + 3, `delays of ${delays} s`);
      }
    });
  }

  it('connects within 66 s of a third refusal when the hub accepts the same credential again', async () => {
    outcome = (attempt) => (attempt <= 3 ? 'credentials' : undefined);
    const supervisor = start(() => 0.999);
    await time.tickAsync(seconds(30));
    assert.equal(supervisor.state, 'refused');
    await time.tickAsync(seconds(66));
    assert.equal(supervisor.state, 'connected');
  });

  it('keeps its long waits when the network fails between two refusals', async () => {
    outcome = (attempt) => (attempt === 4 ? 'network' : 'credentials');
    start(() => 0);
    await time.tickAsync(minutes(1.5)); // 3 refusals, a minute, the network, a refusal
    const before = attempts.length;
    assert.equal(before, 5);
    await time.tickAsync(minutes(1.4));
    assert.equal(attempts.length, before);
  });

  it('retries refused credentials as soon as the clock is set', async () => {
    outcome = (attempt) => (attempt <= 3 ? 'credentials' : undefined);
    const supervisor = start(() => 0);
    await time.tickAsync(minutes(0.9));
    assert.equal(attempts.length, 3);
    time.setSystemTime(new Date('2026-06-01T00:00:00Z'));
    await time.tickAsync(seconds(5));
    assert.equal(supervisor.state, 'connected');
  });

  it('retries at once if the clock was set during the refused attempt', async () => {
    outcome = (attempt) => (attempt <= 3 ? 'credentials' : undefined);
    connect.onCall(2).callsFake(async () => {
      attempts.push(performance.now() / 1_000);
      time.setSystemTime(new Date('2026-06-01T00:00:00Z'));
      throw failure('credentials');
    });
    const supervisor = start(() => 0);
    await time.tickAsync(minutes(1));
    assert.equal(supervisor.state, 'connected');
    assert.equal(attempts.length, 4);
  });

  it('waits after a lost connection during which the clock was set', async () => {
    renewAfter = undefined;
    start();
    await time.tickAsync(minutes(2));
    time.setSystemTime(new Date('2026-06-01T00:00:00Z'));
    await time.tickAsync(minutes(2));
    current().lose(failure('network'));
    await time.tickAsync(seconds(0.9));
    assert.equal(attempts.length, 1);
    await time.tickAsync(seconds(2));
    assert.equal(attempts.length, 2);
  });

  it('checks the pulse of its connection', async () => {
    start();
    await time.tickAsync(minutes(5));
    assert.equal(current().checkPulse.callCount, 10);
  });

  it('reports a stable connection, and starts with short waits again after it', async () => {
    outcome = (attempt) => (attempt <= 10 ? 'network' : undefined);
    start();
    await time.tickAsync(minutes(30));
    assert.equal(onStable.callCount, 1);
    const before = attempts.length;
    current().lose(failure('network'));
    await time.tickAsync(seconds(2));
    assert.equal(attempts.length, before + 1);
  });

  describe('before the token runs out', () => {
    it('replaces the connection without a failure', async () => {
      const supervisor = start();
      await time.tickAsync(minutes(46));
      assert.equal(stands.length, 2);
      assert.equal(stands[0]?.close.callCount, 1);
      assert.equal(onConnected.callCount, 2);
      assert.equal(onFailure.callCount, 0);
      assert.equal(await supervisor.connection(), stands[1]);
    });

    it('waits for pending requests, and delays new ones until the next connection', async () => {
      const supervisor = start();
      await time.tickAsync(minutes(1));
      current().occupy();
      await time.tickAsync(minutes(45));
      assert.equal(stands.length, 1);
      let next: Stand | undefined;
      const asked = supervisor.connection().then((connection) => {
        next = connection;
      });
      await time.tickAsync(seconds(5));
      assert.equal(next, undefined);
      current().free();
      await asked;
      assert.equal(stands.length, 2);
      assert.equal(next, stands[1]);
    });

    it('first lets direct methods be answered, with the connection still there for what they send', async () => {
      const supervisor = start();
      await time.tickAsync(minutes(1));
      let answer = () => {};
      current().answered.returns(
        new Promise<void>((resolve) => {
          answer = resolve;
        }),
      );
      await time.tickAsync(minutes(44.5));
      assert.equal(current().answered.callCount, 1);
      assert.deepEqual([await supervisor.connection(), stands.length], [stands[0], 1]);
      answer();
      await time.tickAsync(0);
      assert.equal(stands.length, 2);
    });

    it('does not wait forever for a direct method', async () => {
      start();
      await time.tickAsync(minutes(1));
      current().answered.returns(new Promise(() => {}));
      await time.tickAsync(minutes(46));
      assert.equal(stands.length, 2);
    });

    it('opens the new connection while the old one is open', async () => {
      start();
      await time.tickAsync(minutes(1));
      connect.onCall(1).callsFake(async () => {
        assert.equal(stands[0]?.close.callCount, 0);
        const stand = new Stand();
        stands[0]?.lose(failure('network')); // as a hub does that accepts the second connection of a module
        stands.push(stand);
        return stand;
      });
      await time.tickAsync(minutes(45));
      assert.equal(stands.length, 2);
      assert.equal(onFailure.callCount, 0);
      assert.deepEqual(states, ['connected']);
    });

    it('keeps the old connection when the replacement fails, and tries again a minute later', async () => {
      const supervisor = start();
      await time.tickAsync(minutes(1));
      current().occupy();
      await time.tickAsync(minutes(45));
      const asked = supervisor.connection();
      outcome = (attempt) => (attempt === 2 ? 'network' : undefined);
      current().free();
      assert.equal(await asked, stands[0]);
      assert.deepEqual([onFailure.callCount, supervisor.state, stands.length], [1, 'connected', 1]);
      await time.tickAsync(minutes(1));
      assert.equal(stands.length, 2);
      assert.equal(await supervisor.connection(), stands[1]);
    });

    it('reports it when nothing can be prepared for the replacement, and keeps the old connection', async () => {
      const supervisor = start();
      await time.tickAsync(minutes(44));
      prepare.onCall(1).rejects(failure('credentials'));
      await time.tickAsync(minutes(1.5));
      assert.deepEqual([onFailure.callCount, supervisor.state, stands.length], [1, 'connected', 1]);
      assert.equal(current().idle.callCount, 0);
      await time.tickAsync(minutes(1));
      assert.equal(stands.length, 2);
    });

    it('retries a refused replacement after 1, 2, 5 and then every 10 minutes', async () => {
      outcome = (attempt) => (attempt > 1 ? 'credentials' : undefined);
      const supervisor = start(() => 0);
      await time.tickAsync(minutes(75));
      const delays = attempts.slice(4).map((at, index) => at - (attempts[index + 3] ?? 0));
      assert.deepEqual(delays.slice(0, 4), [60, 120, 300, 600], `at ${attempts}`);
      assert.equal(supervisor.state, 'connected');
    });

    it('tries another credential at once, but not forever', async () => {
      outcome = (attempt) => (attempt > 1 ? 'network' : undefined);
      other = 'credential';
      const supervisor = start(() => 0);
      await time.tickAsync(minutes(45.5));
      assert.deepEqual([attempts.length, supervisor.state], [4, 'connected']);
      assert.equal(await supervisor.connection(), stands[0]);
    });

    it('connects with another credential when the hub refuses the first one, and drops nothing', async () => {
      outcome = (attempt) => (attempt === 2 ? 'credentials' : undefined);
      other = 'credential';
      const supervisor = start();
      await time.tickAsync(minutes(45.5));
      assert.equal(await supervisor.connection(), stands[1]);
      assert.deepEqual(states, ['connected']);
    });

    it('connects again if the old connection ends while the replacement is prepared', async () => {
      const supervisor = start();
      await time.tickAsync(minutes(44));
      let prepared = () => {};
      prepare.onCall(1).returns(
        new Promise((resolve) => {
          prepared = () => resolve(undefined);
        }),
      );
      await time.tickAsync(minutes(1));
      current().lose(failure('network'));
      prepared();
      await time.tickAsync(seconds(5));
      assert.deepEqual([stands.length, supervisor.state], [2, 'connected']);
    });

    it('stops at once', async () => {
      const supervisor = start();
      await time.tickAsync(minutes(1));
      current().occupy();
      await time.tickAsync(minutes(45));
      const asked = supervisor.connection();
      stop.abort();
      await done;
      assert.equal(supervisor.state, 'stopped');
      assert.equal(await asked, undefined);
    });
  });

  describe('when the clock is set while it is connected', () => {
    for (const [where, date] of [
      ['forward', '2026-01-01T00:50:00Z'],
      ['back', '2025-06-01T00:00:00Z'],
    ] as const) {
      it(`renews the token if it is set ${where}, each device at its own time within 90 s`, async () => {
        start(() => 0.5);
        await time.tickAsync(minutes(5) + 1);
        time.setSystemTime(new Date(date));
        await time.tickAsync(seconds(59));
        assert.equal(attempts.length, 1);
        await time.tickAsync(seconds(2));
        assert.equal(attempts.length, 2);
        assert.deepEqual([stands.length, states], [2, ['connected']]);
        await time.tickAsync(minutes(40));
        assert.equal(attempts.length, 2);
      });
    }

    it('keeps the token while it says 1970, and when it is right again', async () => {
      start();
      await time.tickAsync(minutes(5));
      const begin = Date.now();
      time.setSystemTime(0);
      await time.tickAsync(minutes(5));
      time.setSystemTime(begin + minutes(5));
      await time.tickAsync(minutes(5));
      assert.equal(attempts.length, 1);
    });

    it('keeps the token if it is set by seconds', async () => {
      start();
      await time.tickAsync(minutes(5));
      time.setSystemTime(new Date(Date.now() + seconds(50)));
      await time.tickAsync(minutes(5));
      assert.equal(attempts.length, 1);
    });

    it('keeps a connection that does not expire', async () => {
      renewAfter = undefined;
      start();
      await time.tickAsync(minutes(5));
      time.setSystemTime(new Date('2026-06-01T00:00:00Z'));
      await time.tickAsync(minutes(50));
      assert.equal(attempts.length, 1);
    });
  });

  describe('when the credential changes', () => {
    it('replaces the connection at once', async () => {
      const supervisor = start();
      await time.tickAsync(minutes(5));
      supervisor.credentialChanged();
      await time.tickAsync(0);
      assert.equal(stands.length, 2);
      assert.equal(await supervisor.connection(), stands[1]);
      assert.deepEqual(states, ['connected']);
    });

    it('ends a long wait after refusals', async () => {
      outcome = (attempt) => (attempt <= 3 ? 'credentials' : undefined);
      const supervisor = start(() => 0);
      await time.tickAsync(minutes(0.9));
      assert.equal(attempts.length, 3);
      supervisor.credentialChanged();
      await time.tickAsync(0);
      assert.equal(supervisor.state, 'connected');
    });

    it('keeps the connection when the new credential is refused', async () => {
      outcome = (attempt) => (attempt === 2 ? 'credentials' : undefined);
      const supervisor = start();
      await time.tickAsync(minutes(5));
      supervisor.credentialChanged();
      await time.tickAsync(seconds(1));
      assert.deepEqual([stands.length, onFailure.callCount, supervisor.state], [1, 1, 'connected']);
    });
  });

  it('never replaces a connection that does not expire', async () => {
    renewAfter = undefined;
    start();
    await time.tickAsync(hours(3 * 24));
    assert.equal(stands.length, 1);
  });

  it('tries another credential at once, and pauses long after the third refusal', async () => {
    outcome = (attempt) => {
      other = attempt % 2 === 1 ? 'credential' : undefined; // the primary, then the secondary
      return 'credentials';
    };
    start(() => 0.5);
    await time.tickAsync(0);
    assert.equal(attempts.length, 2);
    await time.tickAsync(minutes(1));
    assert.equal(attempts.length, 3);
  });

  it('tries another transport at once, even after the third refusal, which was not by the hub', async () => {
    outcome = (attempt) => {
      other = attempt === 3 ? 'transport' : undefined;
      return 'credentials';
    };
    start(() => 0);
    await time.tickAsync(seconds(59));
    assert.equal(attempts.length, 4);
  });

  for (const random of [0, 0.999]) {
    it(`never tries more than six times in a minute with another transport at once (random ${random})`, async () => {
      outcome = () => 'network';
      start(() => random);
      for (let second = 0; second < 1_800; second++) {
        other = attempts.length % 2 === 1 ? 'transport' : undefined; // in pairs, as with both ports silent
        await time.tickAsync(seconds(1));
      }
      assertPace(20);
    });
  }

  it('reports another message of the same error', async () => {
    connect.onCall(0).rejects(new HubFailure(new AgentError('PROXY_REFUSED', 'wants a password', ''), 'credentials'));
    connect.onCall(1).rejects(new HubFailure(new AgentError('PROXY_REFUSED', 'refused port 8883', ''), 'credentials'));
    const supervisor = start(() => 0.5);
    await time.tickAsync(seconds(8));
    assert.equal(attempts.length, 1);
    assert.deepEqual(states, ['refused', 'refused', 'connected']);
    assert.equal(supervisor.error, undefined);
  });

  it('never tries more than six times in a minute when every third failure is followed by another way at once', async () => {
    outcome = () => 'network';
    start(
      () => 0,
      () => (attempts.length % 3 === 0 ? 'transport' : undefined),
    );
    await time.tickAsync(minutes(10));
    assertPace();
  });

  for (const [what, cause] of [
    ['while it is connected', () => undefined],
    ['while the network is away', () => 'network'],
    ['while the hub refuses', () => 'credentials'],
  ] satisfies [string, () => RetryCause | undefined][]) {
    it(`never tries more than six times in a minute when the credential changes again and again ${what}`, async () => {
      outcome = cause;
      const supervisor = start(() => 0);
      for (let turn = 0; turn < 120; turn += 1) {
        await time.tickAsync(seconds(5));
        supervisor.credentialChanged();
      }
      assertPace();
    });
  }

  it('never tries more than six times in a minute as the hub sees it, which is late while this machine is busy', async () => {
    let begun = 0;
    connect.callsFake(async (signal) => {
      begun += 1;
      if (begun % 7 === 1) await systemClock.sleep(seconds(3), signal);
      attempts.push(performance.now() / 1_000);
      throw failure('network');
    });
    const supervisor = start(() => 0);
    for (let turn = 0; turn < 120; turn += 1) {
      await time.tickAsync(seconds(5));
      supervisor.credentialChanged();
    }
    assertPace();
  });

  it('uses a changed credential within 25 s, regardless of earlier attempts', async () => {
    outcome = () => 'network';
    const supervisor = start(() => 0);
    await time.tickAsync(seconds(75)); // as many attempts as a minute may have, and most of a minute is left
    const before = attempts.length;
    supervisor.credentialChanged();
    await time.tickAsync(seconds(15)); // the file is looked at every 10 s
    assert.ok(attempts.length > before);
  });

  it('asks a local service every five seconds, and a module that does not exist within 30 s', async () => {
    prepare.rejects(failure('local'));
    start();
    await time.tickAsync(seconds(60));
    assert.ok(prepare.callCount >= 12, `${prepare.callCount} times`);
    prepare.resetHistory();
    prepare.rejects(failure('absent'));
    await time.tickAsync(minutes(5));
    assert.ok(prepare.callCount >= 10 && prepare.callCount <= 30, `${prepare.callCount} times in five minutes`);
    await time.tickAsync(hours(1));
    assert.ok(prepare.callCount <= 60, `${prepare.callCount} times`);
  });

  it('closes the connection when stopped', async () => {
    const supervisor = start();
    await time.tickAsync(seconds(1));
    stop.abort();
    await done;
    assert.equal(current().close.callCount, 1);
    assert.equal(supervisor.state, 'stopped');
    assert.equal(time.countTimers(), 0);
  });

  it('stops in the middle of a wait', async () => {
    outcome = () => 'credentials';
    start();
    await time.tickAsync(minutes(5));
    stop.abort();
    await done;
    assert.equal(time.countTimers(), 0);
  });

  it('treats any other exception as a network failure', async () => {
    connect.rejects(new TypeError('a defect'));
    const supervisor = start();
    await time.tickAsync(minutes(1));
    assert.equal(supervisor.state, 'connecting');
    assert.equal(supervisor.error?.id, 'INTERNAL');
  });
});
