import assert from 'node:assert/strict';
import { join } from 'node:path';
import sinon from 'sinon';
import { type Connection, Supervisor } from '../../src/agent/hub/supervisor.ts';
import { Publisher } from '../../src/agent/pipeline/publisher.ts';
import { EventQueues } from '../../src/agent/pipeline/queue.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { type Duration, hours, minutes, seconds } from '../../src/core/base/duration.ts';
import { AgentError } from '../../src/core/base/errors.ts';
import type { Envelope } from '../../src/core/contract/event.ts';
import { type Answer, type HubClient, HubFailure } from '../../src/core/contract/hub.ts';
import type { Message } from '../../src/core/contract/message.ts';
import { eventOf, liveSettings, quietLog } from '../agent/pipeline/memory-queues.ts';
import { memoryChains } from '../agent/pipeline/message-chains.ts';
import { synchronousFiles } from '../agent/pipeline/synchronous-files.ts';
import { temporaryFolder } from '../harness/folders.ts';

const UNREACHABLE = new HubFailure(new AgentError('HUB_UNREACHABLE', 'the hub is away', 'Wait.'), 'network');
const REFUSED = new HubFailure(new AgentError('CREDENTIAL_REFUSED', 'no', 'Check the key.'), 'credentials');

/** A connection that the simulated hub can close. */
class Line implements Connection {
  end: (failure: HubFailure) => void = () => {};
  readonly lost = new Promise<HubFailure>((resolve) => {
    this.end = resolve;
  });
  checkPulse = () => {};
  idle = async () => {};
  answered = async () => {};
  close = async () => {};
}

/** A simulated hub that can be unreachable or refuse connections, used through the agent's supervisor. */
class DistantHub implements HubClient {
  state: 'here' | 'away' | 'refusing' = 'here';
  /** Times of all attempts to connect and of all messages, in milliseconds. */
  readonly attempts: number[] = [];
  readonly messages: { at: number; message: Message }[] = [];
  readonly #stop = new AbortController();
  readonly #supervisor: Supervisor<undefined, Line>;
  readonly #listeners: (() => void)[] = [];
  #line: Line | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(random: () => number) {
    this.#supervisor = new Supervisor<undefined, Line>({
      prepare: async () => undefined,
      nextHasOther: () => undefined,
      open: async () => {
        this.attempts.push(performance.now());
        if (this.state === 'away') throw UNREACHABLE;
        if (this.state === 'refusing') throw REFUSED;
        this.#line = new Line();
        return this.#line;
      },
      renewAfter: () => minutes(45),
      clock: systemClock,
      random,
      onChange: () => {},
      onFailure: () => {},
      onConnected: () => {
        for (const listener of this.#listeners) listener();
      },
      onStable: () => {},
    });
  }

  start() {
    this.#running = this.#supervisor.run(this.#stop.signal);
  }
  async stop() {
    this.#stop.abort();
    await this.#running;
  }
  setState(state: DistantHub['state']) {
    this.state = state;
    if (state !== 'here') this.#line?.end(state === 'away' ? UNREACHABLE : REFUSED);
  }

  async send(message: Message): Promise<Answer<void>> {
    await systemClock.sleep(seconds(0.1));
    if (this.state !== 'here') return { ...UNREACHABLE.answer, unanswered: true } as Answer<void>;
    this.messages.push({ at: performance.now(), message });
    return { status: 'accepted', value: undefined };
  }
  status = () => ({ state: this.#supervisor.state, credential: { kind: 'moduleKey' } });
  on(event: string, listener: () => void) {
    if (event === 'connected') this.#listeners.push(listener);
  }
  readTwin = () => assert.fail('nobody asks');
  report = () => assert.fail('nobody asks');
}

/** Returns the largest number of `times` within any period of `length`. */
const densest = (times: readonly number[], length: Duration) =>
  Math.max(0, ...times.map((from) => times.filter((at) => at >= from && at < from + length).length));

describe('A hub that is unreachable', () => {
  let time: sinon.SinonFakeTimers;
  let directory: string;
  let queues: EventQueues;
  let publisher: Publisher;
  let hub: DistantHub;
  let put: Record<'High' | 'Low', string[]>;

  beforeEach(async () => {
    time = sinon.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] });
    directory = temporaryFolder();
    const settings = liveSettings({ maxMessageSizeInBytes: 16_384, highPriorityMessageFrequency: minutes(1) });
    const parts = { settings, clock: systemClock, log: quietLog() };
    queues = new EventQueues({ files: synchronousFiles, directory: join(directory, 'queues'), ...parts });
    hub = new DistantHub(Math.random);
    const sender = { version: '0.1.0', id: '0b5c3f5e-93a4-4b6b-8d7c-0a1b2c3d4e5f' };
    publisher = new Publisher({ chains: memoryChains(), queues, hub, sender, routing: 'security', ...parts });
    put = { High: [], Low: [] };
    await queues.start();
    hub.start();
    await publisher.start();
    await time.tickAsync(0);
  });
  afterEach(async () => {
    for (const service of [publisher, hub, queues]) {
      const stopped = service.stop();
      await time.tickAsync(seconds(12));
      await stopped;
    }
    time.restore();
  });

  /** Simulates collection for this time. */
  const collect = async (time_: Duration) => {
    for (let at = 0; at < time_; at += seconds(10)) {
      for (const queue of ['High', 'Low'] as const) {
        const event = eventOf(2_000);
        put[queue].push((JSON.parse(event.json) as { Id: string }).Id);
        queues.put(queue, [event]);
      }
      await time.tickAsync(seconds(10));
    }
  };
  const print = (label: string) =>
    process.stdout.write(
      `      ${label}: ${hub.attempts.length} attempts to connect (${densest(hub.attempts, minutes(1))} a minute at most), ` +
        `${hub.messages.length} messages (${densest(
          hub.messages.map(({ at }) => at),
          seconds(1),
        )} a second at most)\n`,
    );
  const assertAllDeliveredInOrder = () => {
    const ids = hub.messages.flatMap(({ message }) =>
      (JSON.parse(message.body) as { Events: Envelope[] }).Events.map(({ Id }) => Id),
    );
    assert.equal(new Set(ids).size, ids.length, 'an event came twice');
    for (const queue of ['High', 'Low'] as const) {
      const own = new Set(put[queue]);
      assert.deepEqual(
        ids.filter((id) => own.has(id)),
        put[queue],
      );
      const { collected, delivered, dropped } = queues.account(queue).totals;
      assert.deepEqual([collected, delivered, dropped], [put[queue].length, put[queue].length, {}]);
    }
  };
  /** Checks that the backlog was sent without a pause, no faster than the contract allows. */
  const assertGentle = () => {
    assert.ok(densest(hub.attempts, minutes(1)) <= 6);
    const times = hub.messages.map(({ at }) => at);
    const gaps = times.slice(1).map((at, i) => at - (times[i] ?? 0));
    assert.ok(Math.min(...gaps) >= seconds(0.5), String(Math.min(...gaps)));
  };

  it('gets all events once and in order, at a limited rate, after ten minutes', async () => {
    await collect(minutes(3));
    hub.setState('away');
    await collect(minutes(10));
    const attempts = hub.attempts.length;
    hub.setState('here');
    await collect(minutes(2));
    await time.tickAsync(hours(6));
    print(`ten minutes away, ${attempts - 1} attempts in them`);
    assertAllDeliveredInOrder();
    assertGentle();
  });

  it('gets the backlog of a day at no more than two messages per second, oldest first', async () => {
    hub.setState('away');
    await collect(hours(1));
    await time.tickAsync(hours(23));
    hub.setState('here');
    await time.tickAsync(hours(6));
    print('a day away');
    assertAllDeliveredInOrder();
    assertGentle();
    assert.ok(hub.messages.length > 80, String(hub.messages.length));
  });

  it('gets all events once after repeated outages', async () => {
    for (let round = 0; round < 60; round += 1) {
      hub.setState(round % 2 === 0 ? 'away' : 'here');
      await collect(seconds(30));
    }
    await time.tickAsync(hours(6));
    print('comes and goes twice a minute, for half an hour');
    assertAllDeliveredInOrder();
    assert.ok(densest(hub.attempts, minutes(1)) <= 6);
  });

  it('gets attempts after 1, 2, 5 and then every 10 minutes while it refuses the credentials for a day', async () => {
    hub.setState('refusing');
    const before = hub.attempts.length;
    await collect(minutes(30));
    await time.tickAsync(hours(23));
    const refused = hub.attempts.slice(before);
    hub.setState('here');
    await time.tickAsync(hours(6));
    print(`credentials refused for a day, ${refused.length} attempts in it`);
    assertAllDeliveredInOrder();
    assertGentle();
    const gaps = refused.slice(1).map((at, i) => at - (refused[i] ?? 0));
    const afterThird = gaps.slice(gaps.findIndex((gap) => gap >= minutes(1)));
    const expected = afterThird.map((_, i) => minutes([1, 2, 5][i] ?? 10));
    assert.ok(afterThird.length > 100, String(afterThird.length));
    assert.ok(
      afterThird.every((gap, i) => gap >= (expected[i] ?? 0)),
      afterThird.slice(0, 6).join(', '),
    );
  });
});
