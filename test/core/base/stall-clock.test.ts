import assert from 'node:assert/strict';
import { afterStall, silence } from '../../../src/agent/hub/classify-error.ts';
import { type Clock, type Stall, systemClock } from '../../../src/core/base/clock.ts';
import { type Duration, hours, milliseconds, minutes, seconds } from '../../../src/core/base/duration.ts';
import { AgentError } from '../../../src/core/base/errors.ts';
import { clockOf, describeStall, StallClock } from '../../../src/core/base/stall-clock.ts';
import { nextTurn } from '../../../src/core/base/waiting.ts';
import { WatchedClock } from '../../../src/core/base/watched-clock.ts';
import { HubFailure } from '../../../src/core/contract/hub.ts';

/**
 * A clock that a test advances by hand; sleepers wake in the order of their times, and only when the test advances it.
 */
class FakeClock implements Clock {
  time = 1_000;
  cpuMs = 0;
  readonly sleepers: { due: number; wake: () => void }[] = [];
  now = () => new Date(Date.UTC(2024, 4, 1) + this.time);
  monotonic = () => this.time as Duration;
  fromKernel = () => this.now();
  within = <T>(_limit: Duration, _what: string, work: Promise<T>) => work;
  sleep(wait: Duration, signal?: AbortSignal): Promise<void> {
    return new Promise((wake) => {
      signal?.addEventListener('abort', () => wake());
      this.sleepers.push({ due: this.time + wait, wake });
    });
  }
  /** The event loop runs again at that time. */
  async runAt(time: number): Promise<void> {
    this.time = time;
    const due = this.sleepers.filter((sleeper) => sleeper.due <= time).sort((a, b) => a.due - b.due);
    for (const sleeper of due) {
      this.sleepers.splice(this.sleepers.indexOf(sleeper), 1);
      sleeper.wake();
      await nextTurn();
    }
  }
}

describe('StallClock', () => {
  let fake: FakeClock;
  let clock: StallClock;
  let told: Stall[];

  beforeEach(() => {
    fake = new FakeClock();
    clock = new StallClock(fake, () => ({ user: fake.cpuMs * 1_000, system: 0 }));
    told = [];
    clock.onStall((stall) => told.push(stall));
  });

  it('StallClock ignores timers that fire on time or slightly late', async () => {
    void clock.sleep(seconds(10));
    await fake.runAt(12_900);
    assert.equal(clock.lastStall(), undefined);
  });

  it('StallClock reports the length of a stall once even if many timers fire late', async () => {
    for (const wait of [1, 5, 30, 100]) void clock.sleep(seconds(wait));
    await fake.runAt(243_000);
    assert.equal(told.length, 1);
    assert.equal(told[0]?.length, seconds(241));
    assert.equal(clock.lastStall(), told[0]);
    assert.equal(told[0]?.at.toISOString(), '2024-05-01T00:04:03.000Z');
  });

  it('StallClock does not mistake an aborted or a long sleep for a stall', async () => {
    const stop = new AbortController();
    void clock.sleep(seconds(1), stop.signal);
    void clock.sleep(hours(20));
    fake.time = 60_000;
    stop.abort();
    await fake.runAt(60_000);
    await fake.runAt(hours(20) + 1_000);
    assert.deepEqual(told, []);
  });

  it('StallClock names the work in progress, otherwise the part that was last woken', async () => {
    void clock.part('linux').sleep(seconds(1));
    await fake.runAt(2_000);
    void clock.part('queues').sleep(seconds(1));
    await fake.runAt(13_000);
    assert.equal(told[0]?.during, 'last to run: linux');
    void clock.within(minutes(2), 'the snapshot ListeningPorts', new Promise(() => {}));
    void clock.sleep(seconds(1));
    await fake.runAt(60_000);
    assert.equal(told[1]?.during, 'during the snapshot ListeningPorts');
  });

  it('StallClock distinguishes computing from waiting', async () => {
    void clock.sleep(seconds(1));
    fake.cpuMs += 9_000;
    await fake.runAt(12_000);
    void clock.sleep(seconds(1));
    await fake.runAt(53_000);
    assert.deepEqual(told.map(describeStall), [
      'held up for 10 s (computing)',
      'held up for 40 s (waiting for the system, or stopped)',
    ]);
  });

  it('StallClock reports repeated stalls only if they are longer, or after ten minutes', async () => {
    const stall = async (length: number) => {
      void clock.sleep(milliseconds(100));
      await fake.runAt(fake.time + 100 + length);
    };
    for (const length of [5_000, 4_000, 5_000, 6_000]) await stall(length);
    assert.deepEqual(
      told.map(({ length }) => length),
      [5_000, 6_000],
    );
    await fake.runAt(fake.time + minutes(11));
    await stall(3_000);
    assert.equal(told.length, 3);
  });

  it('StallClock drops the last stall after one hour', async () => {
    void clock.sleep(seconds(1));
    await fake.runAt(20_000);
    assert.ok(clock.lastStall());
    fake.time += hours(1) + 1;
    assert.equal(clock.lastStall(), undefined);
  });

  it('StallClock detects stalls through the clocks of parts', async () => {
    const part = new WatchedClock(clockOf(clock, 'queues'));
    void part.sleep(seconds(1));
    await fake.runAt(20_000);
    assert.equal(part.lastStall()?.length, seconds(18));
    assert.equal(clockOf(systemClock, 'queues'), systemClock);
  });

  it('StallClock provides the time since boot to its parts', () => {
    const bootedAgo = new StallClock(Object.assign(fake, { sinceBoot: () => hours(50) }));
    assert.equal(new WatchedClock(clockOf(bootedAgo, 'queues')).sinceBoot(), hours(50));
    assert.equal(new WatchedClock(systemClock).sinceBoot(), undefined);
  });

  it('StallClock detects a real stall', async () => {
    const real = new StallClock(systemClock);
    const slept = real.sleep(milliseconds(1));
    const until = performance.now() + 2_300;
    while (performance.now() < until); // as code that computes does
    await slept;
    const stall = real.lastStall();
    assert.ok(stall !== undefined && stall.length >= 2_000, JSON.stringify(stall));
  });
});

describe('A time limit that comes late', () => {
  it('a time limit that fires late waits once more, since the answer may have arrived', async () => {
    const answered = new Promise<string>((resolve) => setTimeout(() => setImmediate(() => resolve('done')), 30));
    const limited = systemClock.within(milliseconds(20), 'the answer', answered);
    const until = performance.now() + 1_200;
    while (performance.now() < until);
    assert.equal(await limited, 'done');
  });
});

describe('A connection that ends after a stall', () => {
  const peer = { address: 'hub.example', module: 'd/m', now: new Date() };
  const stall: Stall = { length: seconds(241), ended: minutes(10), at: new Date(), computed: false };
  const lost = silence('no packet for 300 s', peer);

  it('afterStall attributes a lost connection to the stall of the agent, not to the network', () => {
    const { error, retryCause } = afterStall(lost, stall, minutes(11), peer);
    assert.deepEqual([error.id, retryCause], ['AGENT_HELD_UP', 'network']);
    assert.match(error.message, /hub\.example ended because the agent itself was held up for 241 s \(waiting/);
    assert.doesNotMatch(error.remedy, /network/);
  });

  it('afterStall leaves other failures unchanged: long after a stall, without one, or of the credential', () => {
    assert.equal(afterStall(lost, stall, minutes(13), peer), lost);
    assert.equal(afterStall(lost, undefined, minutes(13), peer), lost);
    const refused = new HubFailure(new AgentError('CREDENTIAL_REFUSED', 'no', 'Renew.'), 'credentials');
    assert.equal(afterStall(refused, stall, minutes(10), peer), refused);
  });
});
