import assert from 'node:assert/strict';
import { afterStall, silence } from '../../../src/agent/hub/classify-error.ts';
import { type Clock, type Stall, systemClock } from '../../../src/core/base/clock.ts';
import { type Duration, hours, milliseconds, minutes, seconds } from '../../../src/core/base/duration.ts';
import { AgentError } from '../../../src/core/base/errors.ts';
import { clockOf, describeStall, StallClock } from '../../../src/core/base/stall-clock.ts';
import { nextTurn } from '../../../src/core/base/waiting.ts';
import { WatchedClock } from '../../../src/core/base/watched-clock.ts';
import { HubFailure } from '../../../src/core/contract/hub-failure.ts';

/** Time that a test holds in its hand; sleepers wake in the order of their times, and only when time is let go on. */
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

  it('says nothing of timers that come in time, or a little late', async () => {
    void clock.sleep(seconds(10));
    await fake.runAt(12_900);
    assert.equal(clock.lastStall(), undefined);
  });

  it('tells how long the event loop stood still, once, however many timers come late', async () => {
    for (const wait of [1, 5, 30, 100]) void clock.sleep(seconds(wait));
    await fake.runAt(243_000);
    assert.equal(told.length, 1);
    assert.equal(told[0]?.length, seconds(241));
    assert.equal(clock.lastStall(), told[0]);
    assert.equal(told[0]?.at.toISOString(), '2024-05-01T00:04:03.000Z');
  });

  it('takes no sleep that was ended early, nor a long one, for a stall', async () => {
    const stop = new AbortController();
    void clock.sleep(seconds(1), stop.signal);
    void clock.sleep(hours(20));
    fake.time = 60_000;
    stop.abort();
    await fake.runAt(60_000);
    await fake.runAt(hours(20) + 1_000);
    assert.deepEqual(told, []);
  });

  it('names what was under way, else who was woken last', async () => {
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

  it('tells computing from waiting', async () => {
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

  it('tells of those that come again and again only when they are longer, or after ten minutes', async () => {
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

  it('forgets the last one after an hour', async () => {
    void clock.sleep(seconds(1));
    await fake.runAt(20_000);
    assert.ok(clock.lastStall());
    fake.time += hours(1) + 1;
    assert.equal(clock.lastStall(), undefined);
  });

  it('is seen through the clocks of parts', async () => {
    const part = new WatchedClock(clockOf(clock, 'queues'));
    void part.sleep(seconds(1));
    await fake.runAt(20_000);
    assert.equal(part.lastStall()?.length, seconds(18));
    assert.equal(clockOf(systemClock, 'queues'), systemClock);
  });

  it('passes the time since boot on to the parts', () => {
    const bootedAgo = new StallClock(Object.assign(fake, { sinceBoot: () => hours(50) }));
    assert.equal(new WatchedClock(clockOf(bootedAgo, 'queues')).sinceBoot(), hours(50));
    assert.equal(new WatchedClock(systemClock).sinceBoot(), undefined);
  });

  it('notices a real one', async () => {
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
  it('gives what it limits another moment, since its answer may be there', async () => {
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

  it('is not the network’s fault', () => {
    const { error, because } = afterStall(lost, stall, minutes(11), peer);
    assert.deepEqual([error.id, because], ['AGENT_HELD_UP', 'network']);
    assert.match(error.message, /hub\.example ended because the agent itself was held up for 241 s \(waiting/);
    assert.doesNotMatch(error.remedy, /network/);
  });

  it('may well be, long after it, and a refused key has nothing to do with it', () => {
    assert.equal(afterStall(lost, stall, minutes(13), peer), lost);
    assert.equal(afterStall(lost, undefined, minutes(13), peer), lost);
    const refused = new HubFailure(new AgentError('CREDENTIAL_REFUSED', 'no', 'Renew.'), 'credentials');
    assert.equal(afterStall(refused, stall, minutes(10), peer), refused);
  });
});
