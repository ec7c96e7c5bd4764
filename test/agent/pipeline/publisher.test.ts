import assert from 'node:assert/strict';
import sinon from 'sinon';
import type { LiveSettings } from '../../../src/agent/config/twin-configuration.ts';
import { Publisher } from '../../../src/agent/pipeline/publisher.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { type Duration, days, hours, milliseconds, minutes, seconds } from '../../../src/core/base/duration.ts';
import { AgentError } from '../../../src/core/base/errors.ts';
import type { LogLine } from '../../../src/core/base/log.ts';
import type { QueueName } from '../../../src/core/contract/event.ts';
import type { Answer, HubClient, HubSignal, HubStatus, RetryCause } from '../../../src/core/contract/hub.ts';
import { type Message, type Routing, sizeOf } from '../../../src/core/contract/message.ts';
import type { OutgoingEvent } from '../../../src/core/contract/store.ts';
import { eventOf, liveSettings, MemoryQueues, quietLog } from './memory-queues.ts';
import { memoryChains } from './message-chains.ts';
import { seeded } from './simulated-files.ts';

const ACCEPTED: Answer<void> = { status: 'accepted', value: undefined };
const ERROR = new AgentError('HUB_UNREACHABLE', 'no answer', 'Wait.');
const retry = (retryCause: RetryCause, after?: Duration): Answer<void> => ({
  status: 'retry',
  retryCause,
  error: ERROR,
  ...(after === undefined ? {} : { after }),
});

/** A hub in the test's hand. */
class Hub implements HubClient {
  readonly sent: { at: number; message: Message }[] = [];
  inFlight = 0;
  mostInFlight = 0;
  state: HubStatus['state'] = 'connected';
  /** How it answers the next message. */
  answer: (message: Message) => Promise<Answer<void>> = async () => ACCEPTED;
  readonly #listeners: [event: HubSignal, listener: () => void][] = [];

  async send(message: Message) {
    this.sent.push({ at: Date.now(), message });
    this.inFlight += 1;
    this.mostInFlight = Math.max(this.mostInFlight, this.inFlight);
    const answer = await this.answer(message);
    this.inFlight -= 1;
    return answer;
  }
  status = (): HubStatus => ({ state: this.state, credential: { kind: 'moduleKey' } });
  on(event: HubSignal, listener: () => void) {
    this.#listeners.push([event, listener]);
  }
  tell(event: HubSignal) {
    for (const [heard, listener] of this.#listeners) if (heard === event) listener();
  }
  connect() {
    this.state = 'connected';
    this.tell('connected');
  }
  readTwin = () => assert.fail('not the publisher’s business');
  report = () => assert.fail('not the publisher’s business');
  /** When messages came, in seconds. */
  times = () => this.sent.map(({ at }) => at / 1_000);
  ids = () => this.sent.map(({ message }) => message.id);
}

const eventsIn = ({ body }: Message): { Id: string; Name: string }[] => JSON.parse(body).Events;

/** How many of `times` fall into each stretch of `length`. */
function countsBy(times: readonly number[], length: number): number[] {
  const counts = new Map<number, number>();
  for (const at of times) counts.set(Math.floor(at / length), (counts.get(Math.floor(at / length)) ?? 0) + 1);
  return [...counts.values()];
}

describe('Publisher', () => {
  let time: sinon.SinonFakeTimers;
  let queues: MemoryQueues;
  let settings: LiveSettings;
  let hub: Hub;
  let publisher: Publisher;
  let logged: LogLine[];

  beforeEach(() => {
    time = sinon.useFakeTimers();
    queues = new MemoryQueues();
    settings = liveSettings({ highPriorityMessageFrequency: minutes(7), lowPriorityMessageFrequency: hours(5) });
    hub = new Hub();
    logged = [];
  });
  afterEach(async () => {
    hub.state = 'stopped';
    const stopped = publisher.stop();
    await time.tickAsync(seconds(11));
    await stopped;
    time.restore();
  });

  const start = async ({
    routing = 'security',
    random = () => 0,
    firstPeriod = 1,
    noted = () => {},
  }: {
    routing?: Routing;
    random?: () => number;
    firstPeriod?: number;
    noted?: () => void;
  } = {}) => {
    publisher = new Publisher({
      chains: memoryChains(),
      queues,
      hub,
      settings,
      sender: { version: '0.1.0', id: '0b5c3f5e-93a4-4b6b-8d7c-0a1b2c3d4e5f' },
      routing,
      extensions: new Set(['SecurityAlert']),
      clock: systemClock,
      log: quietLog(logged),
      random,
      firstPeriod,
      noted,
    });
    await publisher.start();
    await time.tickAsync(0);
  };
  const put = (queue: QueueName, count = 1, bytes = 300) =>
    queues.put(
      queue,
      Array.from({ length: count }, () => eventOf(bytes)),
    );
  const delivered = () =>
    queues.settled.filter(([, outcome]) => outcome === 'delivered').reduce((all, s) => all + s[2], 0);

  describe('sends', () => {
    it('sends after a part of the first period if it was due during an outage, then after whole periods', async () => {
      await start({ random: () => 0.5 });
      hub.state = 'connecting';
      put('High');
      await time.tickAsync(minutes(60));
      hub.connect();
      await time.tickAsync(0);
      assert.deepEqual(hub.times(), [3_600]);
      assert.equal(publisher.next().High?.getTime(), Date.now() + minutes(7) * 0.625);
      put('High');
      await time.tickAsync(minutes(7) * 0.625);
      assert.equal(hub.times().length, 2);
      assert.equal(publisher.next().High?.getTime(), Date.now() + minutes(7));
    });

    it('sends after a whole period if the outage was shorter than that', async () => {
      await start();
      await time.tickAsync(minutes(2));
      hub.state = 'connecting';
      await time.tickAsync(minutes(1));
      hub.connect();
      put('High');
      await time.tickAsync(minutes(4));
      assert.equal(publisher.next().High?.getTime(), Date.now() + minutes(7));
    });

    it('sends after a part of the first period, then after whole ones, even if a period had no events', async () => {
      await start({ firstPeriod: 0.5 });
      put('High');
      assert.equal(publisher.next().High?.getTime(), Date.now() + minutes(3.5));
      await time.tickAsync(minutes(3.5) - 1);
      assert.deepEqual(hub.times(), []);
      await time.tickAsync(1);
      assert.deepEqual(hub.times(), [210]);
      put('High');
      await time.tickAsync(minutes(7) - 1);
      assert.equal(hub.times().length, 1);
      await time.tickAsync(1);
      assert.deepEqual(hub.times(), [210, 630]);
      await time.tickAsync(hours(2.5) - minutes(10.5) - 1);
      put('Low');
      assert.equal(hub.times().length, 2);
      await time.tickAsync(1);
      assert.equal(hub.times().length, 3);
      await time.tickAsync(hours(5) - 1);
      assert.equal(hub.times().length, 3);
    });

    it("sends when the queue's period has passed, and nothing if the queue is empty", async () => {
      await start();
      await time.tickAsync(minutes(1));
      put('High');
      await time.tickAsync(minutes(6) - 1);
      assert.deepEqual(hub.times(), []);
      await time.tickAsync(1);
      assert.deepEqual(hub.times(), [420]);
      await time.tickAsync(minutes(14));
      assert.deepEqual(hub.times(), [420]);
      put('High');
      await time.tickAsync(minutes(7));
      assert.deepEqual(hub.times(), [420, 28 * 60]);
      assert.equal(delivered(), 2);
    });

    it('High earlier when asked to, once, and never later', async () => {
      settings.replace({ ...settings.current(), highPriorityMessageFrequency: days(365) });
      await start();
      put('High');
      publisher.sendHighWithin(minutes(7));
      publisher.sendHighWithin(hours(1));
      await time.tickAsync(minutes(7) - 1);
      assert.deepEqual(hub.times(), []);
      await time.tickAsync(1);
      assert.deepEqual(hub.times(), [420]);
      put('High');
      await time.tickAsync(days(300));
      assert.deepEqual(hub.times(), [420]);
    });

    it('High within 7 minutes if it holds events of an earlier run', async () => {
      settings.replace({ ...settings.current(), highPriorityMessageFrequency: days(365) });
      put('High');
      put('Low');
      await start({ firstPeriod: 0.5 });
      await time.tickAsync(minutes(3.5) - 1);
      assert.deepEqual(hub.times(), []);
      await time.tickAsync(1);
      assert.deepEqual(hub.times(), [210]);
      put('High');
      await time.tickAsync(minutes(60));
      assert.deepEqual(hub.times(), [210]);
    });

    it('Low at its own frequency', async () => {
      await start();
      put('Low');
      await time.tickAsync(hours(5) - 1);
      assert.equal(hub.sent.length, 0);
      await time.tickAsync(1);
      assert.equal(hub.sent.length, 1);
      assert.equal(hub.sent[0]?.message.priority, 'Low');
    });

    it('Low along with High, when there is room', async () => {
      await start();
      put('Low', 2);
      put('High');
      await time.tickAsync(minutes(7));
      assert.equal(hub.sent.length, 1);
      assert.equal(hub.sent[0]?.message.priority, 'High');
      assert.equal(JSON.parse(hub.sent[0]?.message.body ?? '').Events.length, 3);
      assert.equal(queues.waiting('Low').events, 0);
    });

    it('sends immediately when a queue can fill a message', async () => {
      await start();
      put('Low', 8, 1_000);
      await time.tickAsync(seconds(5));
      assert.deepEqual(hub.times(), []);
      put('Low', 1, 1_000);
      await time.tickAsync(0);
      assert.deepEqual(hub.times(), [5]);
      await time.tickAsync(seconds(5));
      assert.equal(queues.waiting('Low').events, 0);
    });

    it('sends immediately when a quarter of a small cache is full, so that new events evict nothing', async () => {
      const small = { maxMessageSizeInBytes: 40_000, maxLocalCacheSizeInBytes: 40_000 };
      settings.replace({ ...settings.current(), ...small });
      await start();
      put('Low', 8, 1_000);
      await time.tickAsync(minutes(1));
      assert.equal(hub.sent.length, 0);
      put('Low', 14, 1_000);
      await time.tickAsync(minutes(1));
      assert.deepEqual(
        hub.sent.map(({ message }) => [sizeOf(message) <= 8_192, eventsIn(message).length]),
        [
          [true, 7],
          [true, 7],
        ],
      );
      put('High', 1, 30_000);
      await time.tickAsync(minutes(1));
      assert.equal(eventsIn(hub.sent.at(-1)?.message as Message).length, 1);
      await time.tickAsync(hours(5));
      assert.deepEqual([queues.waiting('High').events, queues.waiting('Low').events], [0, 0]);
    });

    it('sends immediately when the twin makes messages smaller or more frequent', async () => {
      settings.replace({ ...settings.current(), maxMessageSizeInBytes: 200_000 });
      await start();
      put('Low', 20, 1_000);
      await time.tickAsync(minutes(1));
      assert.equal(hub.sent.length, 0);
      settings.replace({ ...settings.current(), maxMessageSizeInBytes: 16_384 });
      await time.tickAsync(seconds(5));
      assert.equal(queues.waiting('Low').events, 0);
      put('Low');
      await time.tickAsync(minutes(1));
      settings.replace({ ...settings.current(), lowPriorityMessageFrequency: seconds(30) });
      await time.tickAsync(0);
      assert.equal(queues.waiting('Low').events, 0);
    });

    it('waits for a period that exceeds the longest timer', async () => {
      settings.replace({ ...settings.current(), highPriorityMessageFrequency: hours(24 * 60) });
      await start();
      put('High');
      await time.tickAsync(hours(24 * 60) - 1);
      assert.equal(hub.sent.length, 0);
      await time.tickAsync(1);
      assert.equal(hub.sent.length, 1);
    });

    it('what is due, one message at a time, and no more than two a second', async () => {
      hub.answer = async () => {
        await systemClock.sleep(milliseconds(100));
        return ACCEPTED;
      };
      await start();
      put('Low', 40, 2_000);
      put('High', 10, 2_000);
      await time.tickAsync(seconds(60));
      assert.deepEqual([queues.waiting('Low').events, queues.waiting('High').events], [0, 0]);
      assert.equal(hub.mostInFlight, 1);
      assert.ok(hub.sent.length > 10);
      const gaps = hub
        .times()
        .slice(1)
        .map((at, i) => at - (hub.times()[i] ?? 0));
      assert.ok(Math.min(...gaps) >= 0.5, String(gaps));
      assert.ok(Math.max(...gaps) < 0.7, String(gaps));
    });

    it('no slower than the hub answers', async () => {
      hub.answer = async () => {
        await systemClock.sleep(seconds(3));
        return ACCEPTED;
      };
      await start();
      put('Low', 12, 2_000);
      await time.tickAsync(seconds(20));
      assert.deepEqual(hub.times(), [0, 3, 6, 9]);
    });

    it('sends security messages by default, and telemetry if configured', async () => {
      for (const routing of ['security', 'telemetry'] as const) {
        queues = new MemoryQueues();
        hub = new Hub();
        await start({ routing });
        put('High');
        await time.tickAsync(minutes(7));
        assert.deepEqual(
          hub.sent.map(({ message }) => message.marking),
          [routing],
        );
        await publisher.stop();
      }
    });

    it('sends with the current hub resource id', async () => {
      settings.replace({ ...settings.current(), hubResourceId: '/subscriptions/x' });
      await start();
      put('High');
      await time.tickAsync(minutes(7));
      assert.equal(hub.sent[0]?.message.hubResourceId, '/subscriptions/x');
    });
  });

  describe('flushes', () => {
    const flush = async (limit = seconds(20), passing = seconds(20)) => {
      const flushed = publisher.flush(limit);
      await time.tickAsync(passing);
      return flushed;
    };

    it('what waits, at once and whatever the frequencies, spaced as ever', async () => {
      await start();
      await time.tickAsync(seconds(10));
      put('High', 2);
      put('Low', 20, 1_000);
      const flushed = await flush();
      assert.deepEqual(flushed, { messages: hub.sent.length, events: 22, left: 0 });
      assert.deepEqual(hub.times(), [10, 10.5, 11]);
      assert.deepEqual(await flush(), { messages: 0, events: 0, left: 0 });
    });

    it('flushes until the hub accepts no more, and returns the number of remaining events', async () => {
      await start();
      put('Low', 3);
      hub.answer = async () => retry('throttled');
      assert.deepEqual(await flush(seconds(20), milliseconds(0)), { messages: 0, events: 0, left: 3 });
      assert.equal(hub.sent.length, 1);
      hub.state = 'connecting';
      assert.equal((await flush(seconds(20), milliseconds(0))).left, 3);
    });

    it('no longer than its limit, though a message is on its way', async () => {
      await start();
      put('High');
      hub.answer = () => systemClock.sleep(seconds(30)).then(() => ACCEPTED);
      assert.deepEqual(await flush(), { messages: 0, events: 0, left: 1 });
      await time.tickAsync(seconds(10));
      assert.equal(delivered(), 1);
    });

    it('twice at once as one, and ends with the agent', async () => {
      await start();
      put('High');
      const both = [publisher.flush(seconds(20)), publisher.flush(seconds(20))];
      await time.tickAsync(seconds(1));
      assert.deepEqual(
        (await Promise.all(both)).map(({ left }) => left),
        [0, 0],
      );
      put('High');
      hub.answer = () => systemClock.sleep(seconds(5)).then(() => ACCEPTED);
      const last = publisher.flush(seconds(20));
      await time.tickAsync(0);
      const stopped = publisher.stop();
      await time.tickAsync(seconds(6));
      await stopped;
      assert.equal((await last).left, 0);
    });
  });

  describe('for the security service only', () => {
    it('drops extensions that were queued before, counted, and sends the others', async () => {
      await start({ routing: 'security' });
      queues.put('High', [eventOf(300, 'SecurityAlert'), eventOf(300, 'Login')]);
      queues.put('Low', [eventOf(300, 'ProcessCreate'), eventOf(300, 'SecurityAlert')]);
      await time.tickAsync(minutes(7) + seconds(2));
      assert.deepEqual(
        hub.sent.flatMap(({ message }) => eventsIn(message).map(({ Name }) => Name)),
        ['Login', 'ProcessCreate'],
      );
      assert.deepEqual(queues.settled, [
        ['High', 'notRouted', 1],
        ['Low', 'notRouted', 1],
        ['High', 'delivered', 1],
        ['Low', 'delivered', 1],
      ]);
      assert.deepEqual([queues.waiting('High').events, queues.waiting('Low').events], [0, 0]);
      assert.ok(logged.some(({ message }) => message.startsWith('Dropped events that messages for the security')));
    });

    it('continues when only extensions are queued', async () => {
      await start({ routing: 'security' });
      queues.put('High', [eventOf(300, 'SecurityAlert')]);
      await time.tickAsync(minutes(7) + seconds(2));
      assert.deepEqual(hub.sent, []);
      put('High');
      await time.tickAsync(minutes(7));
      assert.equal(delivered(), 1);
    });
  });

  describe('both ways', () => {
    it('sends every pack twice, spaced, and settles it once', async () => {
      await start({ routing: 'both' });
      put('Low', 8, 2_000);
      await time.tickAsync(seconds(10));
      assert.deepEqual(
        hub.sent.map(({ message }) => message.marking),
        ['security', 'telemetry', 'security', 'telemetry', 'security', 'telemetry'],
      );
      assert.equal(hub.sent[0]?.message.body, hub.sent[1]?.message.body);
      assert.equal(new Set(hub.ids()).size, 6);
      assert.deepEqual(hub.times(), [0, 0.5, 1, 1.5, 2, 2.5]);
      assert.equal(delivered(), 8);
    });

    it('leaves extensions out of the marked copy', async () => {
      await start({ routing: 'both' });
      queues.put('High', [eventOf(300, 'Login'), eventOf(300, 'SecurityAlert'), eventOf(300, 'Login')]);
      await time.tickAsync(minutes(7) + seconds(1));
      assert.deepEqual(
        hub.sent.map(({ message }) => [message.marking, eventsIn(message).map(({ Name }) => Name)]),
        [
          ['security', ['Login', 'Login']],
          ['telemetry', ['Login', 'SecurityAlert', 'Login']],
        ],
      );
      const bytes = hub.sent.map(({ message }) => Buffer.byteLength(message.body));
      assert.deepEqual(
        hub.sent.map(({ message }) => message.bodyBytes),
        bytes,
      );
      assert.deepEqual(queues.settled, [['High', 'delivered', 3]]);
    });

    it('sends no marked copy of extensions alone', async () => {
      await start({ routing: 'both' });
      queues.put('High', [eventOf(300, 'SecurityAlert')]);
      await time.tickAsync(minutes(7) + seconds(1));
      assert.deepEqual(
        hub.sent.map(({ message }) => message.marking),
        ['telemetry'],
      );
      assert.equal(delivered(), 1);
    });

    it('repeats only the one that failed', async () => {
      await start({ routing: 'both' });
      hub.answer = async ({ marking }) =>
        marking === 'telemetry' && hub.sent.length === 2 ? retry('network') : ACCEPTED;
      put('High');
      await time.tickAsync(minutes(7));
      assert.deepEqual(queues.settled, []);
      await time.tickAsync(minutes(1));
      assert.deepEqual(
        hub.sent.map(({ message }) => message.marking),
        ['security', 'telemetry', 'telemetry'],
      );
      assert.equal(hub.ids()[1], hub.ids()[2]);
      assert.deepEqual(queues.settled, [['High', 'delivered', 1]]);
    });
  });

  describe('when the hub does not take a message', () => {
    it('sends the same again, under the same id, before anything else', async () => {
      await start();
      hub.answer = async () => (hub.sent.length < 3 ? retry('network') : ACCEPTED);
      put('High');
      await time.tickAsync(minutes(7));
      put('High');
      await time.tickAsync(minutes(2));
      const [first, second, third, fourth] = hub.ids();
      assert.deepEqual([second, third], [first, first]);
      assert.ok(fourth !== undefined && fourth !== first);
      assert.deepEqual(queues.settled, [
        ['High', 'delivered', 1],
        ['High', 'delivered', 1],
      ]);
      const { sent, failed, lastError } = publisher.sent();
      assert.deepEqual([sent, failed, lastError], [2, 2, undefined]);
    });

    it('logs the reason of a failed message', async () => {
      await start();
      hub.answer = async () => retry('network');
      put('High');
      await time.tickAsync(minutes(7));
      const { sent, failed, lastError } = publisher.sent();
      assert.deepEqual([sent, failed, lastError], [0, 1, ERROR]);
    });

    for (const [retryCause, shortest, longest] of [
      ['network', [10, 10, 10, 10, 10, 10], [20, 40, 80, 160, 300, 300]],
      ['throttled', [1, 1, 1, 1, 1, 1], [10, 20, 40, 80, 160, 320]],
      ['credentials', [600, 600, 600], [600, 600, 600]],
    ] as const) {
      for (const [random, waits] of [
        [0, shortest],
        [1 - Number.EPSILON, longest],
      ] as const) {
        it(`waits ${waits} s after ${retryCause}, if chance is ${random.toFixed(0)}`, async () => {
          settings.replace({ ...settings.current(), highPriorityMessageFrequency: seconds(1) });
          await start({ random: () => random });
          hub.answer = async () => retry(retryCause);
          put('High');
          await time.tickAsync(seconds(1 + waits.reduce((a, b) => a + b, 0)));
          const gaps = hub
            .times()
            .slice(1)
            .map((at, i) => Math.round(at - (hub.times()[i] ?? 0)));
          assert.deepEqual(gaps, waits);
        });
      }
    }

    it('waits as long as the hub says, if that is longer', async () => {
      await start();
      hub.answer = async () => retry('throttled', hours(9));
      put('High');
      await time.tickAsync(minutes(7) + hours(9) - 1);
      assert.equal(hub.sent.length, 1);
      await time.tickAsync(1);
      assert.equal(hub.sent.length, 2);
    });

    it('waits for the next UTC day when the quota is used up, regardless of new events', async () => {
      await start({ random: () => 0 });
      hub.answer = async () => retry('quota');
      put('High');
      await time.tickAsync(hours(49));
      // The first at 7 minutes past midnight, when the hub's day may not have begun.
      assert.deepEqual(hub.times(), [7 * 60, 3_600, 24 * 3_600, 25 * 3_600, 48 * 3_600, 49 * 3_600]);
      hub.connect();
      put('High', 5, 60_000);
      await time.tickAsync(hours(22));
      assert.equal(hub.sent.length, 6);
      hub.answer = async () => ACCEPTED;
      await time.tickAsync(hours(2));
      assert.equal(delivered(), 6);
    });

    it('waits no longer for a quota when the hub accepts requests again', async () => {
      await start({ random: () => 0 });
      await time.tickAsync(hours(2));
      hub.answer = async () => retry('quota');
      put('High');
      await time.tickAsync(minutes(7));
      assert.deepEqual([hub.sent.length, delivered()], [1, 0]);
      hub.answer = async () => ACCEPTED;
      hub.tell('quotaRenewed');
      await time.tickAsync(seconds(1));
      assert.deepEqual([hub.sent.length, delivered()], [2, 1]);
    });

    it('waits out a hub that is too busy, though its quota is renewed', async () => {
      await start({ random: () => 0.5 });
      hub.answer = async () => retry('throttled', minutes(9));
      put('High');
      await time.tickAsync(minutes(7));
      hub.tell('quotaRenewed');
      await time.tickAsync(minutes(8));
      assert.equal(hub.sent.length, 1);
    });

    it('asks again as soon as the wall clock says that it is another day', async () => {
      await start({ random: () => 0 });
      await time.tickAsync(hours(2));
      hub.answer = async () => retry('quota');
      put('High');
      await time.tickAsync(minutes(7));
      assert.equal(hub.sent.length, 1);
      time.setSystemTime(new Date('2026-01-01T23:50:00Z'));
      await time.tickAsync(hours(1)); // looked at once an hour
      assert.equal(hub.sent.length, 2);
    });

    it('is not hurried by new events', async () => {
      await start();
      hub.answer = async () => retry('network');
      put('High');
      await time.tickAsync(minutes(7));
      for (let i = 0; i < 9; i += 1) {
        put('High', 10, 2_000);
        await time.tickAsync(seconds(1));
      }
      assert.equal(hub.sent.length, 1);
    });

    it('starts small again after a success', async () => {
      settings.replace({ ...settings.current(), highPriorityMessageFrequency: seconds(1) });
      await start({ random: () => 1 - Number.EPSILON });
      hub.answer = async () => (hub.sent.length === 3 ? ACCEPTED : retry('network'));
      put('High');
      await time.tickAsync(seconds(61));
      assert.equal(hub.sent.length, 3);
      put('High');
      await time.tickAsync(seconds(1) + seconds(20));
      assert.equal(hub.sent.length, 5);
    });

    it('counts permanently rejected events as refused and continues', async () => {
      await start();
      hub.answer = async () => (hub.sent.length === 1 ? { status: 'refused', error: ERROR } : ACCEPTED);
      put('Low', 8, 2_000);
      await time.tickAsync(seconds(5));
      assert.deepEqual(queues.settled, [
        ['Low', 'refused', 3],
        ['Low', 'delivered', 3],
        ['Low', 'delivered', 2],
      ]);
      assert.equal(publisher.sent().failed, 1);
      assert.deepEqual(
        logged.filter(({ level }) => level === 'error').map(({ id }) => id),
        ['HUB_UNREACHABLE'],
      );
    });

    it('counts an event that no message can hold and continues', async () => {
      await start();
      const json = `{"Payload":[{"A":[${'7,'.repeat(9_000)}7]}]}`;
      queues.put('Low', [{ name: 'Odd', elements: 1, occurrences: 1, json }]);
      put('Low');
      await time.tickAsync(seconds(5));
      assert.deepEqual(queues.settled, [
        ['Low', 'tooLarge', 1],
        ['Low', 'delivered', 1],
      ]);
    });

    for (const routing of ['security', 'both'] as const) {
      it(`packs again if the twin has made messages smaller in the meantime, routing ${routing}`, async () => {
        settings.replace({ ...settings.current(), maxMessageSizeInBytes: 65_536 });
        await start({ routing });
        hub.answer = async () => (hub.sent.length < 3 ? retry('network') : ACCEPTED);
        put('High', 20, 2_000);
        await time.tickAsync(minutes(7));
        assert.ok(sizeOf(hub.sent[0]?.message as Message) > 40_000);
        settings.replace({ ...settings.current(), maxMessageSizeInBytes: 8192 });
        await time.tickAsync(minutes(2));
        for (const { message } of hub.sent.slice(1)) assert.ok(sizeOf(message) <= 8192);
        assert.deepEqual([delivered(), queues.waiting('High').events], [20, 0]);
      });
    }

    it('packs the other half again if the twin has made messages smaller after the first', async () => {
      settings.replace({ ...settings.current(), maxMessageSizeInBytes: 65_536 });
      await start({ routing: 'both' });
      hub.answer = async () => (hub.sent.length === 2 ? retry('network') : ACCEPTED);
      put('High', 9, 2_000);
      await time.tickAsync(minutes(7) + 600);
      settings.replace({ ...settings.current(), maxMessageSizeInBytes: 8192 });
      await time.tickAsync(minutes(2));
      for (const { message } of hub.sent.slice(2)) assert.ok(sizeOf(message) <= 8192);
      assert.equal(hub.sent.filter(({ message }) => message.marking === 'telemetry').length, 4);
      assert.deepEqual([delivered(), queues.waiting('High').events], [9, 0]);
    });

    it('continues after an internal error at any point, and logs it once', async () => {
      await start();
      for (const strike of [
        () => sinon.stub(hub, 'status').onFirstCall().throws(new Error('a defect')),
        () => sinon.stub(hub, 'send').onFirstCall().rejects(new Error('a defect')),
        () => sinon.stub(queues, 'take').onFirstCall().throws(new Error('a defect')),
        () => sinon.stub(queues, 'settle').onFirstCall().throws(new Error('a defect')),
      ]) {
        const stub = strike();
        stub.callThrough();
        put('High', 2);
        put('Low');
        await time.tickAsync(minutes(7) + seconds(2));
        stub.restore();
        await time.tickAsync(minutes(7));
        assert.deepEqual([queues.waiting('High').events, queues.waiting('Low').events], [0, 0]);
      }
      assert.equal(delivered(), 12);
      assert.deepEqual(
        logged.filter(({ level }) => level === 'error').map(({ id }) => id),
        ['INTERNAL'],
      );
    });

    it('logs that events cannot be returned after an internal error, and returns them later', async () => {
      await start();
      const settle = sinon.stub(queues, 'settle').callThrough();
      settle.onFirstCall().throws(new Error('a defect'));
      settle.onSecondCall().throws(new Error('another defect'));
      put('High', 2);
      await time.tickAsync(minutes(7) + seconds(2));
      assert.match(JSON.stringify(logged), /another defect/);
      await time.tickAsync(minutes(14));
      assert.deepEqual([queues.waiting('High').events, delivered()], [0, 2]);
    });

    it('does not spin when a queue cannot be read', async () => {
      await start();
      queues.unreadable = true;
      const take = sinon.spy(queues, 'take');
      put('Low', 10, 2_000);
      await time.tickAsync(seconds(10));
      assert.ok(take.callCount > 0 && take.callCount <= 21, String(take.callCount));
      queues.unreadable = false;
      await time.tickAsync(seconds(10));
      assert.equal(queues.waiting('Low').events, 0);
    });
  });

  describe('without a connection', () => {
    it('tries nothing', async () => {
      hub.state = 'connecting';
      await start();
      put('High');
      put('Low', 20, 2_000);
      await time.tickAsync(hours(10));
      assert.equal(hub.sent.length, 0);
    });

    it('sends what is due as soon as there is one', async () => {
      hub.state = 'connecting';
      await start();
      put('High');
      await time.tickAsync(minutes(8) + 123);
      hub.connect();
      await time.tickAsync(0);
      assert.deepEqual(hub.times(), [480.123]);
    });

    it('does not wait out a network failure once there is a new one', async () => {
      await start({ random: () => 1 - Number.EPSILON });
      hub.answer = async () => (hub.sent.length === 1 ? retry('network') : ACCEPTED);
      put('High');
      await time.tickAsync(minutes(7) + seconds(2));
      hub.connect();
      await time.tickAsync(0);
      assert.deepEqual(hub.times(), [420, 422]);
    });

    it('waits as long as an overloaded hub asks for', async () => {
      await start();
      hub.answer = async () => retry('throttled', minutes(30));
      put('High');
      await time.tickAsync(minutes(7) + seconds(2));
      hub.connect();
      await time.tickAsync(minutes(29));
      assert.equal(hub.sent.length, 1);
      await time.tickAsync(minutes(1));
      assert.equal(hub.sent.length, 2);
    });
  });

  describe('an event that ends the connection', () => {
    const SILENT: Answer<void> = { ...retry('network'), unanswered: true } as Answer<void>;
    const POISON = 'p'.repeat(50);
    const poison = (): OutgoingEvent => {
      const event = eventOf(300, 'Login');
      return { ...event, json: event.json.replace('xxx', POISON) };
    };
    const isPoison = ({ body }: Message) => body.includes(POISON);
    const refused = () =>
      queues.settled.filter(([, outcome]) => outcome === 'refused').reduce((all, s) => all + s[2], 0);
    /** Lets time pass as a connection that comes back two seconds after each loss. */
    const pass = async (time_: Duration) => {
      for (let at = 0; at < time_; at += seconds(2)) {
        await time.tickAsync(seconds(2));
        if (hub.state === 'connecting') hub.connect();
      }
    };
    /** Ends the connection at the messages that `fails` is true of. */
    const hangUpOn = (fails: (message: Message) => boolean) => {
      hub.answer = async (message) => {
        if (!fails(message)) return ACCEPTED;
        hub.state = 'connecting';
        return SILENT;
      };
    };
    beforeEach(() => {
      settings.replace({ ...settings.current(), maxMessageSizeInBytes: 200_000 });
    });

    for (const [where, at] of [
      ['first', 0],
      ['in the middle', 41],
      ['last', 99],
    ] as const) {
      it(`is found, ${where} among a hundred, and dropped when others have passed ten times`, async () => {
        await start({ random: () => 0.5 });
        hangUpOn(isPoison);
        put('Low', at);
        queues.put('Low', [poison()]);
        put('Low', 99 - at);
        await pass(hours(6));
        // Nothing is lost so far. All other events are sent, and this one waits for later ones to compare with.
        assert.deepEqual([delivered(), refused()], [99, 0]);
        const failed = hub.sent
          .filter(({ message }) => isPoison(message))
          .map(({ message }) => eventsIn(message).length);
        assert.deepEqual(failed.slice(0, 3), [100, 100, 100]);
        assert.ok(failed.length <= 3 + 7 + 3, String(failed));
        assert.equal(failed.at(-1), 1);
        for (let round = 0; round < 10; round += 1) {
          put('High');
          await pass(minutes(10));
        }
        assert.deepEqual([delivered(), refused(), queues.waiting('Low').events], [109, 1, 0]);
        const [line] = logged.filter(({ level }) => level === 'error');
        const [{ Id } = { Id: '' }] = [JSON.parse(queues.put_.Low[at]?.json ?? '{}') as { Id: string }];
        assert.equal(line?.id, 'EVENT_UNSENDABLE');
        assert.match(line?.message ?? '', new RegExp(`event Login ${Id} was sent,`));
      });
    }

    it('does not delay later events in either queue', async () => {
      await start({ random: () => 0.5 });
      hangUpOn(isPoison);
      queues.put('High', [poison()]);
      await pass(minutes(30));
      put('High', 3);
      put('Low', 3);
      await pass(minutes(30));
      assert.equal(delivered(), 6);
    });

    it('does not change when its queue has its turn', async () => {
      await start({ random: () => 0.5 });
      hangUpOn(isPoison);
      queues.put('Low', [poison()]);
      await pass(hours(5.5)); // found and skipped
      put('Low');
      for (let at = 0; at < 4.25 * 60; at += 15) {
        put('High', 1, 7_750); // two units, so that no Low event is added
        await pass(minutes(15));
      }
      assert.ok(hub.sent.filter(({ message }) => isPoison(message)).length > 3 + 8);
      assert.equal(queues.settled.filter(([queue, outcome]) => queue === 'Low' && outcome === 'delivered').length, 0);
      await pass(hours(0.5));
      assert.equal(queues.settled.filter(([queue, outcome]) => queue === 'Low' && outcome === 'delivered').length, 1);
    });

    it('is found among others of its kind', async () => {
      await start({ random: () => 0.5 });
      hangUpOn(isPoison);
      for (let n = 0; n < 3; n += 1) {
        queues.put('High', [poison()]);
        put('High', 5);
      }
      queues.put('Low', [poison()]);
      for (let round = 0; round < 120; round += 1) {
        put('High');
        await pass(minutes(10));
      }
      assert.deepEqual([delivered(), refused()], [135, 4]);
    });

    it('costs few attempts, further and further apart, when there is nothing else to send', async () => {
      await start({ random: () => 1 - Number.EPSILON });
      hangUpOn(isPoison);
      queues.put('High', [poison()]);
      await pass(hours(24));
      const times = hub.times().map((at) => Math.round(at / 60));
      assert.deepEqual(times.slice(0, 3), [7, 7, 8]);
      assert.ok(times.length > 20 && times.length <= 3 + 24, String(times)); // once an hour
      assert.equal(refused(), 0);
    });

    it('keeps its id at every attempt, and the id of its message as long as that has its number', async () => {
      await start({ random: () => 0.5 });
      hangUpOn(isPoison);
      queues.put('High', [poison()]);
      for (let round = 0; round < 3; round += 1) {
        await pass(minutes(10));
        put('High');
      }
      const attempts = hub.sent.filter(({ message }) => isPoison(message));
      assert.ok(attempts.length >= 4);
      const numbered = attempts.map(({ message }) => `${message.evidence?.sequence} ${message.id}`);
      assert.equal(new Set(numbered).size, new Set(attempts.map(({ message }) => message.id)).size);
      assert.equal(new Set(numbered).size, new Set(attempts.map(({ message }) => message.evidence?.sequence)).size);
      assert.equal(new Set(attempts.map(({ message }) => eventsIn(message)[0]?.Id)).size, 1);
    });

    it('is dropped for one marking alone, too', async () => {
      await start({ random: () => 0.5, routing: 'both' });
      hangUpOn((message) => isPoison(message) && message.marking === 'telemetry');
      queues.put('High', [poison()]);
      for (let round = 0; round < 14; round += 1) {
        put('High');
        await pass(minutes(10));
      }
      assert.deepEqual([delivered(), refused()], [14, 1]);
    });

    describe('is not taken for one', () => {
      it('a hub that accepts connections and acknowledges nothing for a week is not mistaken for a bad event', async () => {
        await start({ random: () => 0.5 });
        hangUpOn(() => true);
        put('High', 20);
        put('Low', 200);
        await pass(hours(24 * 7));
        assert.deepEqual(
          queues.settled.filter(([, outcome]) => outcome !== 'kept'),
          [],
        );
        hangUpOn(() => false);
        await pass(hours(6));
        assert.deepEqual([delivered(), refused()], [220, 0]);
        assert.deepEqual([queues.waiting('High').events, queues.waiting('Low').events], [0, 0]);
        const perMinute = Math.max(...countsBy(hub.times(), 60));
        assert.ok(perMinute <= 121, String(perMinute)); // two a second when it takes them again
      });

      for (const share of [0.1, 0.3, 0.5, 0.7, 0.9]) {
        it(`a network that loses ${share * 100} % of the messages with its connection is not mistaken for a bad event`, async () => {
          const random = seeded(Math.round(share * 10));
          await start({ random });
          hangUpOn(() => random() < share);
          for (let round = 0; round < 500; round += 1) {
            put('High', 1 + Math.floor(random() * 3));
            put('Low', Math.floor(random() * 9));
            await pass(minutes(7));
          }
          assert.equal(refused(), 0);
          hangUpOn(() => false);
          await pass(hours(11));
          const all = queues.put_.High.length + queues.put_.Low.length;
          assert.deepEqual([delivered(), all > 2_500], [all, true]);
        }).timeout(120_000);
      }

      it('throttling, quota and credential errors are not mistaken for a bad event', async () => {
        await start({ random: () => 0.5 });
        let n = 0;
        hub.answer = async () => retry((['throttled', 'quota', 'credentials'] as const)[n++ % 3] ?? 'quota');
        put('High', 20);
        for (let day = 0; day < 40; day += 1) {
          put('Low');
          await time.tickAsync(hours(24));
        }
        assert.ok(n > 20);
        assert.equal(refused(), 0);
        hub.answer = async () => ACCEPTED;
        await time.tickAsync(hours(48));
        assert.equal(delivered(), 60);
      });
    });

    it('does not go out in the last ten seconds', async () => {
      await start({ random: () => 0.5 });
      hangUpOn(isPoison);
      queues.put('High', [poison()]);
      await pass(minutes(30));
      const before = hub.sent.length;
      put('High', 3);
      await publisher.stop();
      assert.deepEqual(
        hub.sent.slice(before).map(({ message }) => isPoison(message)),
        [false],
      );
    });
  });

  describe('statistics', () => {
    it('count messages, the small ones among them, and the last time', async () => {
      await start();
      put('High', 1, 300);
      await time.tickAsync(minutes(7));
      put('High', 1, 5_000);
      await time.tickAsync(minutes(7));
      assert.deepEqual(publisher.sent(), { sent: 2, under4KB: 1, failed: 0, lastSentAt: new Date(minutes(14)) });
      assert.ok(sizeOf(hub.sent[1]?.message as Message) >= 4096);
    });
  });

  it('counts are saved after every attempt, once the queue has been updated', async () => {
    const notes: unknown[] = [];
    await start({
      noted: () => notes.push([publisher.sent().sent, publisher.sent().failed, queues.waiting('High').events]),
    });
    hub.answer = async () => (hub.sent.length === 1 ? retry('network') : ACCEPTED);
    put('High');
    await time.tickAsync(minutes(8));
    assert.deepEqual(notes, [
      [0, 1, 1],
      [1, 1, 0],
    ]);
  });

  describe('stop', () => {
    /** Stops, and says after how many milliseconds it was done. */
    const stop = async () => {
      const began = Date.now();
      let took = -1;
      void publisher.stop().then(() => {
        took = Date.now() - began;
      });
      await time.tickAsync(seconds(30));
      return took;
    };

    it('sends what waits, of both queues, at once', async () => {
      await start();
      put('High', 2);
      put('Low', 2);
      assert.equal(await stop(), 0);
      assert.equal(hub.sent.length, 1);
      assert.equal(delivered(), 4);
    });

    it('sends what fits into ten seconds, and keeps the rest', async () => {
      await start();
      hub.answer = async () => {
        await systemClock.sleep(seconds(3));
        return ACCEPTED;
      };
      put('High', 3, 3_000);
      put('Low', 20, 3_000);
      await time.tickAsync(1);
      const took = await stop();
      assert.ok(took >= 9_000 && took <= 12_000, String(took));
      assert.ok(delivered() >= 5 && queues.waiting('Low').events > 0);
      const { length } = hub.sent;
      await time.tickAsync(hours(10));
      assert.equal(hub.sent.length, length);
    });

    it('a stop does not make the publisher send faster', async () => {
      await start();
      put('Low', 8, 2_000);
      hub.state = 'connecting';
      await time.tickAsync(seconds(5));
      hub.state = 'connected';
      await stop();
      assert.equal(queues.waiting('Low').events, 0);
      const gaps = hub
        .times()
        .slice(1)
        .map((at, i) => at - (hub.times()[i] ?? 0));
      assert.ok(Math.min(...gaps) >= 0.5, String(gaps));
    });

    it('is not held up by a message that is never answered', async () => {
      await start();
      hub.answer = () => new Promise(() => {});
      put('High');
      await time.tickAsync(minutes(7));
      assert.equal(hub.sent.length, 1);
      assert.equal(await stop(), 11_000);
      assert.deepEqual(queues.settled, []);
      assert.deepEqual(
        logged.map(({ level }) => level),
        ['warn'],
      );
    });

    it('does not try again what just failed', async () => {
      await start();
      hub.answer = async () => retry('throttled');
      put('High');
      put('Low', 20, 2_000);
      await time.tickAsync(0);
      assert.equal(hub.sent.length, 1);
      await stop();
      assert.equal(hub.sent.length, 1);
    });

    it('tries nothing without a connection', async () => {
      await start();
      put('High');
      hub.state = 'connecting';
      assert.equal(await stop(), 0);
      assert.equal(hub.sent.length, 0);
    });

    it('finishes a pack whose first half is out', async () => {
      await start({ routing: 'both' });
      put('High', 2);
      await stop();
      assert.deepEqual(
        hub.sent.map(({ message }) => message.marking),
        ['security', 'telemetry'],
      );
      assert.deepEqual(queues.settled, [['High', 'delivered', 2]]);
    });
  });
});
