import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import sinon from 'sinon';
import { MessageBudget } from '../../../src/agent/pipeline/message-budget.ts';
import { Publisher } from '../../../src/agent/pipeline/publisher.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { hours, minutes, seconds } from '../../../src/core/base/duration.ts';
import { AgentError } from '../../../src/core/base/errors.ts';
import type { Envelope, QueueName } from '../../../src/core/contract/event.ts';
import { type Answer, type HubClient, HubFailure, type HubStatus } from '../../../src/core/contract/hub.ts';
import { type Message, type Routing, sizeOf, unitsOf } from '../../../src/core/contract/message.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { immediateStateFiles } from '../state/immediate-state-files.ts';
import { eventOf, liveSettings, MemoryQueues, quietLog } from './memory-queues.ts';
import { memoryChains } from './message-chains.ts';

const ERROR = new AgentError('HUB_UNREACHABLE', 'no answer', 'Wait.');
const UNANSWERED = { ...new HubFailure(ERROR, 'network').answer, unanswered: true } as Answer<void>;
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
  /** Payload elements of the events with a name that have arrived. */
  elements(name: string): Record<string, unknown>[] {
    const envelopes = this.messages.flatMap(({ body }) => JSON.parse(body).Events as Envelope[]);
    return envelopes.filter(({ Name }) => Name === name).flatMap(({ Payload }) => [...Payload]);
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

  /** Puts an event with an owner, as the collectors make it. */
  const putOf = (queue: QueueName, Name: string, payload: object, bytes = 400) => {
    const envelope = { Id: randomUUID(), Category: 'Triggered', Name, EventType: 'Security' };
    const Payload = [{ ...payload, CommandLine: 'x'.repeat(bytes) }];
    queues.put(queue, [{ name: Name, elements: 1, occurrences: 1, json: JSON.stringify({ ...envelope, Payload }) }]);
  };
  const alertOf = (userId: number, rule: string, bytes = 400) => {
    putOf('High', 'SecurityAlert', { UserId: String(userId), RuleId: rule }, bytes);
    publisher.sendHighWithin(seconds(0));
  };
  /** Rules of the alerts that have arrived about a user. */
  const rulesOf = (userId: number): string[] =>
    hub.elements('SecurityAlert').flatMap((alert) => (alert.UserId === String(userId) ? [String(alert.RuleId)] : []));
  /** Times by which the events have arrived, in minutes. */
  const minutesUntil = async (done: () => boolean): Promise<number> => {
    for (let minute = 0; minute < 24 * 60; minute += 1) {
      if (done()) return minute;
      await time.tickAsync(minutes(1));
    }
    return assert.fail('never');
  };

  it('holds Low first, then High, and sends both again within an hour', async () => {
    await start(1_000);
    put('Low', 2_000);
    await time.tickAsync(minutes(1));
    assert.ok(hub.units <= 201 && hub.units > 195, String(hub.units));
    assert.equal(budget.use().held?.queues, 'Low');
    put('High', 100);
    await time.tickAsync(minutes(1));
    assert.ok(hub.units <= 226 && hub.units > 220, String(hub.units));
    assert.equal(budget.use().held?.queues, 'High, Low');
    const before = hub.units;
    assert.ok((await minutesUntil(() => hub.units > before)) <= 60);
    await time.tickAsync(hours(24));
    assert.equal(waiting('High'), 0);
  });

  it('never sends more than the limit in a UTC day', async () => {
    time.setSystemTime(Date.parse('2026-05-01T00:00:00Z'));
    await start(100);
    for (let hour = 0; hour < 24; hour += 1) {
      put('Low', 10);
      put('High', 10);
      alertOf(2001, `rule ${hour}`);
      await time.tickAsync(minutes(59));
      if (hour < 23) await time.tickAsync(minutes(1));
    }
    assert.ok(hub.units <= 100 && hub.units > 80, String(hub.units));
  });

  it('counts what is not answered, and not what never got there', async () => {
    await start(100);
    put('High', 1, 7_000);
    hub.answer = { status: 'retry', retryCause: 'network', error: ERROR };
    await time.tickAsync(minutes(5));
    assert.ok(hub.messages.length > 5);
    assert.equal(budget.use().unitsToday, 0);
    hub.answer = { status: 'retry', retryCause: 'network', error: ERROR, unanswered: true };
    const before = hub.messages.length;
    await time.tickAsync(hours(1));
    assert.ok(hub.messages.length - before >= 3);
    assert.equal(budget.use().unitsToday, 2 * (hub.messages.length - before), 'of two units each');
    assert.equal(waiting('High'), 1, 'nothing is lost');
    hub.answer = { status: 'accepted', value: undefined };
    await time.tickAsync(hours(2));
    assert.equal(waiting('High'), 0);
  });

  it('makes messages as large as what is left, and shortens no event for it', async () => {
    await start(100);
    put('High', 1, 70_000);
    await time.tickAsync(seconds(15));
    assert.equal(hub.units, 18);
    put('High', 1, 60_000);
    put('High', 1, 100);
    put('Low', 1, 100);
    await time.tickAsync(hours(1));
    assert.equal(hub.units, 18, 'Low waits for High');
    assert.equal(waiting('High'), 2);
    await time.tickAsync(hours(5));
    assert.deepEqual([waiting('High'), waiting('Low')], [0, 0]);
    assert.ok(hub.messages.every(({ body }) => !body.includes('Shortened')));
  });

  it('sends an alert from a held queue whose skipped event was evicted', async () => {
    await start(100);
    hub.answerTo = ({ body }) =>
      body.includes('Poison') ? { status: 'retry', retryCause: 'network', error: ERROR, unanswered: true } : hub.answer;
    put('High', 1, 500, 'Poison');
    await time.tickAsync(hours(2));
    budget.spend(budget.left('High'));
    put('High', 1, 500);
    await time.tickAsync(minutes(1));
    assert.equal(budget.use().held?.queues, 'High, Low');
    queues.take('High', 10_000, true);
    queues.settle('High', 'cacheFull');
    const { length } = hub.messages;
    put('High', 1, 500, 'SecurityAlert');
    publisher.sendHighWithin(seconds(5));
    await time.tickAsync(minutes(2));
    assert.deepEqual([hub.names.slice(-1), hub.messages.length], [['SecurityAlert'], length + 1]);
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
    await start(100, 'both');
    put('High', 40);
    await time.tickAsync(minutes(1));
    assert.ok(hub.units <= 22 && hub.units >= 18, String(hub.units));
    const marked = hub.messages.filter(({ marking }) => marking === 'security').length;
    assert.equal(hub.messages.length, 2 * marked);
  });

  describe('whose High units are used up', () => {
    beforeEach(async () => {
      await start(2_000);
      put('High', 1_500, 3_000, 'FileChange');
      await time.tickAsync(minutes(2));
      assert.equal(budget.use().held?.queues, 'High, Low');
    });

    it('sends an alert at once', async () => {
      alertOf(0, 'shell');
      await time.tickAsync(seconds(2));
      assert.deepEqual(rulesOf(0), ['shell']);
    });

    it("sends the first alert of another user at once, whatever one user's alerts have used up", async () => {
      for (let n = 0; n < 120; n += 1) alertOf(2001, `decoy ${n % 40}`, 3_500);
      await time.tickAsync(minutes(5));
      const decoys = rulesOf(2001).length;
      assert.ok(decoys >= 10 && decoys <= 28, String(decoys));
      assert.equal(budget.use().held?.queues, 'High, Low, alerts');
      alertOf(0, 'shell', 3_500);
      await time.tickAsync(seconds(2));
      assert.deepEqual(rulesOf(0), ['shell']);
      alertOf(0, 'rootkit', 3_500);
      await time.tickAsync(seconds(2));
      assert.deepEqual(rulesOf(0), ['shell', 'rootkit']);
    });

    it('sends the alert of another user within an hour after many users have used up the reserve', async () => {
      for (let user = 2001; user < 2021; user += 1) for (let n = 0; n < 20; n += 1) alertOf(user, `decoy ${n}`, 3_500);
      await time.tickAsync(minutes(10));
      alertOf(0, 'shell', 3_500);
      assert.ok((await minutesUntil(() => rulesOf(0).length > 0)) <= 30);
    });

    it('sends different rules of a user before repetitions', async () => {
      for (let n = 0; n < 30; n += 1) alertOf(2001, 'decoy', 3_500);
      alertOf(2001, 'shell', 3_500);
      await time.tickAsync(minutes(1));
      assert.ok(rulesOf(2001).slice(0, 2).includes('shell'), String(rulesOf(2001)));
    });

    it('sends held alerts as the reserve refills, and reports them as held until then', async () => {
      for (let n = 0; n < 30; n += 1) alertOf(2001, `decoy ${n}`, 3_500);
      await time.tickAsync(minutes(2));
      assert.match(budget.use().held?.queues ?? '', /alerts/);
      await time.tickAsync(hours(16));
      await time.tickAsync(hours(4));
      assert.equal(rulesOf(2001).length, 30);
      assert.doesNotMatch(budget.use().held?.queues ?? '', /alerts/);
    });

    it('sends a notice of a change, too', async () => {
      for (let n = 0; n < 30; n += 1) alertOf(2001, `decoy ${n}`, 3_500);
      await time.tickAsync(minutes(2));
      put('High', 1, 400, 'Diagnostic');
      publisher.sendHighWithin(minutes(1));
      await time.tickAsync(minutes(2));
      assert.deepEqual(hub.names.slice(-1), ['Diagnostic']);
    });
  });

  describe('that users share', () => {
    const starts = (userId: number, count: number) => {
      for (let n = 0; n < count; n += 1) putOf('Low', 'ProcessCreate', { UserId: String(userId), n }, 3_000);
    };
    const startsOf = (userId: number) =>
      hub.elements('ProcessCreate').filter(({ UserId }) => UserId === String(userId)).length;

    it("grants a user's Low events half of the units, and sends those of others", async () => {
      await start(2_000);
      starts(2001, 2_000);
      starts(2002, 50);
      await time.tickAsync(minutes(20));
      assert.ok(startsOf(2001) > 200 && startsOf(2001) <= 260, String(startsOf(2001)));
      assert.equal(startsOf(2002), 50);
      const { mostUsedBy, mostUnits = 0, overShare } = budget.use();
      assert.deepEqual([mostUsedBy, overShare], ['user 2001', 'user 2001']);
      assert.ok(mostUnits > 190 && mostUnits <= 201, String(mostUnits));
      starts(2003, 20);
      await time.tickAsync(minutes(1));
      assert.equal(startsOf(2003), 20);
      assert.equal(budget.use().held, undefined);
    });

    it('sends the events that wait for a share as it refills, and loses none', async () => {
      await start(2_000);
      starts(2001, 600);
      await time.tickAsync(minutes(20));
      assert.equal(budget.use().overShare, 'user 2001');
      await time.tickAsync(hours(15));
      assert.equal(startsOf(2001), 600);
      assert.equal(budget.use().overShare, undefined);
      assert.equal(waiting('Low'), 0);
    });

    it('sends few messages while events of one user wait', async () => {
      await start(2_000);
      starts(2001, 2_000);
      await time.tickAsync(minutes(20));
      const { length } = hub.messages;
      await time.tickAsync(hours(1));
      // One as often as Low may be sent, as long as the share refills by that much: 25 units an hour.
      assert.ok(hub.messages.length - length <= 30, String(hub.messages.length - length));
    });

    it('shares among events without a user, such as exits, in the same way', async () => {
      await start(2_000);
      for (let n = 0; n < 2_000; n += 1) putOf('Low', 'ProcessTerminate', { Executable: `/tmp/${n}` }, 3_000);
      starts(2001, 50);
      await time.tickAsync(minutes(20));
      assert.equal(startsOf(2001), 50);
      assert.equal(budget.use().overShare, 'the system');
    });

    it('fills up High messages with Low events of users that have a share left', async () => {
      await start(2_000);
      starts(2001, 2_000);
      await time.tickAsync(minutes(20));
      const before = startsOf(2001);
      putOf('Low', 'ProcessCreate', { UserId: '2002' }, 100);
      put('High', 1, 100);
      publisher.sendHighWithin(seconds(0));
      await time.tickAsync(seconds(1));
      assert.equal(startsOf(2002), 1);
      assert.equal(startsOf(2001), before);
    });
  });

  describe('while an alert waits', () => {
    beforeEach(async () => {
      hub.answerTo = ({ body }) => (body.includes('SecurityAlert') ? hub.answer : UNANSWERED);
      await start(200);
    });

    it('spends none of the reserve on what is sent again', async () => {
      budget.spend(budget.left('High') - 2);
      put('High', 1, 7_000);
      await time.tickAsync(seconds(15));
      const left = budget.left('High', true);
      alertOf(2001, 'shell');
      await time.tickAsync(minutes(5));
      assert.equal(hub.names.filter((name) => name === 'SecurityAlert').length, 1);
      assert.equal(left - budget.left('High', true), 1);
      assert.equal(waiting('High'), 1);
    });

    it('spends none of the reserve on what may be unsendable', async () => {
      budget.spend(budget.left('High') - 4);
      put('High', 1);
      await time.tickAsync(minutes(10));
      const left = budget.left('High', true);
      for (let n = 0; n < 3; n += 1) {
        alertOf(2001 + n, 'shell');
        await time.tickAsync(minutes(2));
      }
      assert.equal(hub.names.filter((name) => name === 'SecurityAlert').length, 3);
      assert.equal(left - budget.left('High', true), 3);
      assert.equal(waiting('High'), 1);
    });
  });

  it('holds for a flush, too, and for the end', async () => {
    await start(100);
    put('Low', 100);
    put('High', 100);
    const flushed = publisher.flush(seconds(30));
    await time.tickAsync(seconds(31));
    assert.ok((await flushed).left > 150);
    assert.ok(hub.units <= 23, String(hub.units));
    const { units } = hub;
    const stopped = publisher.stop();
    await time.tickAsync(seconds(11));
    await stopped;
    assert.equal(hub.units, units);
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
