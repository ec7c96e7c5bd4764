import assert from 'node:assert/strict';
import { join } from 'node:path';
import sinon from 'sinon';
import { systemClock } from '../../src/base/clock.ts';
import { hours, minutes, seconds } from '../../src/base/duration.ts';
import { AgentError } from '../../src/base/errors.ts';
import { immediateStateFiles } from '../../src/base/state-files.ts';
import type { QueueName } from '../../src/contract/event.ts';
import type { Answer, HubClient, HubStatus } from '../../src/contract/hub.ts';
import { type Message, type Routing, sizeOf } from '../../src/contract/message.ts';
import { MessageBudget, unitsOf } from '../../src/pipeline/message-budget.ts';
import { Publisher } from '../../src/pipeline/publisher.ts';
import { temporaryFolder } from '../support/folders.ts';
import { eventOf, liveSettings, MemoryQueues, quietLog } from './memory-queues.ts';
import { memoryChains } from './message-chains.ts';

const ERROR = new AgentError('HUB_UNREACHABLE', 'no answer', 'Wait.');
const MORNING = Date.parse('2026-05-01T08:00:00Z');

class Hub implements HubClient {
  readonly messages: Message[] = [];
  answer: Answer<void> = { status: 'accepted', value: undefined };
  answerTo: (message: Message) => Answer<void> = () => this.answer;
  async send(message: Message) {
    this.messages.push(message);
    return this.answerTo(message);
  }
  status = (): HubStatus => ({ state: 'connected', credential: { kind: 'moduleKey' } });
  on() {}
  readTwin = () => assert.fail('not asked for');
  report = () => assert.fail('not asked for');
  get units() {
    return this.messages.reduce((all, message) => all + unitsOf(sizeOf(message)), 0);
  }
  /** Names of the events that have arrived. */
  get names(): string[] {
    return this.messages.flatMap(({ body }) => (JSON.parse(body).Events as { Name: string }[]).map(({ Name }) => Name));
  }
}

describe('Publisher with a daily budget', () => {
  let folder: string;
  let time: sinon.SinonFakeTimers;
  let queues: MemoryQueues;
  let hub: Hub;
  let budget: MessageBudget;
  let publisher: Publisher;

  beforeEach(() => {
    folder = temporaryFolder();
    time = sinon.useFakeTimers(MORNING);
    queues = new MemoryQueues();
    hub = new Hub();
  });
  afterEach(async () => {
    const stopped = publisher.stop();
    await time.tickAsync(seconds(11));
    await stopped;
    time.restore();
  });

  const start = async (unitsPerDay: number, routing: Routing = 'telemetry') => {
    const tools = { clock: systemClock, log: quietLog() };
    const file = join(folder, 'units.json');
    budget = new MessageBudget({ file, unitsPerDay, ...tools, files: immediateStateFiles, changed: () => {} });
    await budget.start();
    publisher = new Publisher({
      chains: memoryChains(),
      queues,
      hub,
      settings: liveSettings({
        highPriorityMessageFrequency: seconds(10),
        lowPriorityMessageFrequency: seconds(10),
        maxMessageSizeInBytes: 204_800,
      }),
      sender: { version: '0.1.0', id: '0b5c3f5e-93a4-4b6b-8d7c-0a1b2c3d4e5f' },
      routing,
      ...tools,
      random: () => 0,
      budget,
    });
    await publisher.start();
  };
  const put = (queue: QueueName, count: number, bytes = 3_000, name = 'Login') =>
    queues.put(
      queue,
      Array.from({ length: count }, () => eventOf(bytes, name)),
    );
  const waiting = (queue: QueueName) => queues.waiting(queue).events;

  it('holds Low first, then High, and lets both go on the next UTC day', async () => {
    await start(100);
    put('Low', 400);
    await time.tickAsync(minutes(1));
    assert.equal(hub.units, 80);
    assert.ok(waiting('Low') > 250);
    assert.equal(budget.use().held?.queues, 'Low');
    put('High', 100);
    await time.tickAsync(minutes(1));
    assert.equal(hub.units, 95);
    assert.equal(budget.use().held?.queues, 'High, Low');
    await time.tickAsync(hours(15));
    assert.equal(hub.units, 95, 'nothing more on this day');
    await time.tickAsync(hours(1) + minutes(2));
    assert.ok(hub.units > 150, String(hub.units));
    assert.equal(waiting('High'), 0);
  });

  it('counts what is not answered, and not what never got there', async () => {
    await start(10);
    put('High', 1, 7_000);
    hub.answer = { status: 'retry', because: 'network', error: ERROR };
    await time.tickAsync(minutes(5));
    assert.ok(hub.messages.length > 5);
    assert.equal(budget.use().unitsToday, 0);
    hub.answer = { status: 'retry', because: 'network', error: ERROR, unanswered: true };
    const before = hub.messages.length;
    await time.tickAsync(hours(6));
    assert.equal(hub.messages.length - before, 5, 'of two units each');
    assert.equal(budget.use().unitsToday, 10);
    assert.equal(waiting('High'), 1, 'nothing is lost');
    hub.answer = { status: 'accepted', value: undefined };
    await time.tickAsync(hours(11));
    assert.equal(waiting('High'), 0);
  });

  it('makes messages as large as what is left, and shortens no event for it', async () => {
    await start(10);
    put('High', 1, 30_000);
    await time.tickAsync(seconds(15));
    assert.equal(hub.units, 8);
    put('High', 1, 20_000);
    put('High', 1, 100);
    await time.tickAsync(hours(1));
    assert.equal(hub.units, 8);
    assert.equal(waiting('High'), 2);
    await time.tickAsync(hours(16));
    assert.equal(waiting('High'), 0);
    assert.ok(hub.messages.every(({ body }) => !body.includes('Shortened')));
  });

  it('sends an alert from a held queue whose passed-over event was dropped for want of room', async () => {
    await start(100);
    hub.answerTo = ({ body }) =>
      body.includes('Poison') ? { status: 'retry', because: 'network', error: ERROR, unanswered: true } : hub.answer;
    put('High', 1, 500, 'Poison');
    await time.tickAsync(hours(2));
    budget.spend(96 - budget.use().unitsToday);
    put('High', 1, 500);
    await time.tickAsync(minutes(1));
    assert.equal(budget.use().held?.queues, 'High');
    queues.take('High', 10_000, true);
    queues.settle('High', 'cacheFull');
    put('High', 1, 500, 'SecurityAlert');
    publisher.sendHighWithin(seconds(5));
    await time.tickAsync(minutes(2));
    assert.deepEqual(hub.names.slice(-1), ['SecurityAlert']);
    assert.deepEqual([waiting('High'), budget.use().unitsToday], [0, 97]);
  });

  it('drops nothing when the budget does not pay for a message in each way', async () => {
    await start(1, 'both');
    put('High', 3, 300);
    put('Low', 3, 300);
    await time.tickAsync(hours(1));
    assert.deepEqual([hub.units, waiting('High'), waiting('Low')], [0, 3, 3]);
    assert.equal(budget.use().held?.queues, 'High, Low');
  });

  it('counts both messages of a pack that goes out in two ways', async () => {
    await start(10, 'both');
    put('High', 40);
    await time.tickAsync(minutes(1));
    assert.ok(hub.units <= 10 && hub.units >= 8, String(hub.units));
    const marked = hub.messages.filter(({ marking }) => marking === 'security').length;
    assert.equal(hub.messages.length, 2 * marked);
  });

  it('keeps the last units for what is urgent, wherever it waits', async () => {
    await start(100);
    put('High', 400);
    await time.tickAsync(minutes(1));
    assert.equal(hub.units, 95);
    put('High', 1, 400, 'Diagnostic');
    publisher.sendHighWithin(minutes(1));
    await time.tickAsync(minutes(2));
    assert.equal(hub.units, 96);
    assert.deepEqual(hub.names.slice(-1), ['Diagnostic']);
    for (let n = 0; n < 10; n += 1) {
      put('High', 1, 400, 'Diagnostic');
      publisher.sendHighWithin(minutes(1));
      await time.tickAsync(minutes(2));
    }
    assert.equal(hub.units, 100);
    assert.ok(waiting('High') > 250);
  });

  describe('while an alert waits', () => {
    const LOST: Answer<void> = { status: 'retry', because: 'network', error: ERROR, unanswered: true };
    const alert = () => {
      put('High', 1, 400, 'SecurityAlert');
      publisher.sendHighWithin(seconds(1));
    };

    beforeEach(async () => {
      hub.answerTo = ({ body }) => (body.includes('SecurityAlert') ? hub.answer : LOST);
      await start(100);
    });

    it('spends none of the last units on what is sent again', async () => {
      budget.spend(90);
      put('High', 1, 7_000);
      await time.tickAsync(seconds(15));
      alert();
      await time.tickAsync(hours(2));
      assert.deepEqual(hub.names, ['Login', 'Login', 'SecurityAlert']);
      assert.equal(budget.use().unitsToday, 95);
      assert.equal(waiting('High'), 1);
    });

    it('spends none of the last units on what may be unsendable', async () => {
      budget.spend(91);
      put('High', 1);
      await time.tickAsync(minutes(10));
      for (let n = 0; n < 3; n += 1) {
        alert();
        await time.tickAsync(minutes(10));
      }
      assert.deepEqual(hub.names, [...Array(4).fill('Login'), ...Array(3).fill('SecurityAlert')]);
      assert.equal(budget.use().unitsToday, 98);
      assert.equal(waiting('High'), 1);
    });
  });

  it('holds for a flush, too, and for the end', async () => {
    await start(10);
    put('Low', 100);
    put('High', 100);
    const flushed = publisher.flush(seconds(30));
    await time.tickAsync(seconds(31));
    assert.ok((await flushed).left > 150);
    assert.equal(hub.units, 10);
    const stopped = publisher.stop();
    await time.tickAsync(seconds(11));
    await stopped;
    assert.equal(hub.units, 10);
  });

  it('rests while all is held', async () => {
    await start(1);
    put('High', 10, 4_000);
    put('Low', 10, 4_000);
    await time.tickAsync(minutes(2));
    const spy = sinon.spy(queues, 'take');
    await time.tickAsync(hours(1));
    assert.ok(spy.callCount <= 4, String(spy.callCount));
  });
});
