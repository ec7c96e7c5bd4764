import assert from 'node:assert/strict';
import { join } from 'node:path';
import sinon from 'sinon';
import { osBaseline } from '../../../src/agent/collectors/os-baseline.ts';
import type { LiveSettings } from '../../../src/agent/config/twin-configuration.ts';
import { MessageBudget } from '../../../src/agent/pipeline/message-budget.ts';
import { Publisher } from '../../../src/agent/pipeline/publisher.ts';
import { EventQueues } from '../../../src/agent/pipeline/queue.ts';
import { detailsOf } from '../../../src/agent/pipeline/row-details.ts';
import { Snapshots } from '../../../src/agent/pipeline/snapshots.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { minutes, seconds } from '../../../src/core/base/duration.ts';
import { AgentError } from '../../../src/core/base/errors.ts';
import type { Envelope, Payload } from '../../../src/core/contract/event.ts';
import type { Answer, HubClient, HubStatus } from '../../../src/core/contract/hub.ts';
import { type Message, sizeOf, unitsOf } from '../../../src/core/contract/message.ts';
import type { Sources } from '../../../src/core/contract/sources.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { faultsIn } from '../../message-schema.ts';
import { sources } from '../collectors/samples.ts';
import { immediateStateFiles } from '../state/immediate-state-files.ts';
import { liveSettings, quietLog } from './memory-queues.ts';
import { chainsIn } from './message-chains.ts';
import { assertClosed } from './queue-fixture.ts';
import { synchronousFiles } from './synchronous-files.ts';

const UNREACHABLE: Answer<void> = {
  status: 'retry',
  retryCause: 'network',
  error: new AgentError('HUB_UNREACHABLE', 'no answer', 'Wait.'),
};

/** Accepts every message, except for those that `isDown` is true for. */
class Hub implements HubClient {
  readonly attempts: Message[] = [];
  readonly accepted: Message[] = [];
  isDown: (attempt: number) => boolean = () => false;
  async send(message: Message): Promise<Answer<void>> {
    this.attempts.push(message);
    if (this.isDown(this.attempts.length)) return UNREACHABLE;
    this.accepted.push(message);
    return { status: 'accepted', value: undefined };
  }
  state: HubStatus['state'] = 'connected';
  status = (): HubStatus => ({ state: this.state, credential: { kind: 'moduleKey' } });
  on() {}
  readTwin = () => assert.fail('not asked for');
  report = () => assert.fail('not asked for');
}

/** As many failed rules, so that the snapshot is larger than several messages. */
async function withOutcomes(count: number): Promise<Sources> {
  const scan = await sources.baseline.scan(new AbortController().signal);
  const [failed] = scan.outcomes;
  assert.ok(failed);
  const outcomes = Array.from({ length: count }, (_, n) => ({ ...failed, rule: `rule.${n}` }));
  return { ...sources, baseline: { ...sources.baseline, scan: async () => ({ ...scan, outcomes }) } };
}

const eventsIn = ({ body }: Message) => (JSON.parse(body) as { Events: Envelope[] }).Events;

function withoutLabel(row: Payload): Payload {
  const { Part: _, Parts: __, SnapshotId: ___, ...details } = detailsOf(row);
  return { ...row, ExtraDetails: details };
}

describe('A snapshot that is sent in parts', () => {
  let directory: string;
  let time: sinon.SinonFakeTimers;
  let settings: LiveSettings;
  let hub: Hub;
  let queues: EventQueues;
  let publisher: Publisher;
  let budget: MessageBudget;
  let snapshots: Snapshots;
  let from: Sources;

  beforeEach(() => {
    directory = temporaryFolder();
    time = sinon.useFakeTimers({
      now: new Date('2026-05-01T08:00:00Z'),
      toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'],
    });
    settings = liveSettings({ maxMessageSizeInBytes: 8192, priorities: { OSBaseline: 'Low' } });
    hub = new Hub();
  });
  afterEach(async () => {
    await end();
    time.restore();
  });

  const tools = { clock: systemClock, log: quietLog() };
  const begin = async ({ unitsPerDay = 0, rows = 60 } = {}) => {
    from = await withOutcomes(rows);
    queues = new EventQueues({ files: synchronousFiles, directory: join(directory, 'queues'), settings, ...tools });
    await queues.start();
    const file = join(directory, 'units.json');
    budget = new MessageBudget({ file, unitsPerDay, ...tools, files: immediateStateFiles, changed: () => {} });
    await budget.start();
    const sender = { version: '0.1.0', id: '0b5c3f5e-93a4-4b6b-8d7c-0a1b2c3d4e5f' };
    publisher = new Publisher({
      chains: chainsIn(directory),
      queues,
      hub,
      settings,
      sender,
      routing: 'telemetry',
      budget,
      random: () => 0,
      ...tools,
    });
    await publisher.start();
    snapshots = new Snapshots({
      collectors: [osBaseline],
      sources: from,
      settings,
      queues,
      bytesPerDay: (queue) => publisher.bytesPerDay(queue),
      changed: () => {},
      ...tools,
    });
  };
  /** The publisher ends first, and with it all sending. */
  const end = async () => {
    const stopped = publisher.stop();
    await time.tickAsync(seconds(11));
    await stopped;
    await queues.stop();
  };
  const flush = async () => {
    const flushed = publisher.flush(minutes(2));
    await time.tickAsync(minutes(2));
    await flushed;
  };
  const arrived = () => hub.accepted.flatMap(eventsIn);
  const labels = () => arrived().map(({ Payload: [first] }) => detailsOf(first ?? {}));

  it('arrives whole and in order, over retries and a restart, as one snapshot', async () => {
    hub.isDown = (attempt) => attempt === 1 || hub.accepted.length === 3;
    await begin();
    assert.deepEqual(await snapshots.takeNow(['OSBaseline']), { OSBaseline: { elements: 60 } });
    const parts = queues.waiting('Low').events;
    assert.ok(parts >= 5, String(parts));
    assertClosed(queues);
    await flush();
    assert.deepEqual([hub.accepted.length, queues.waiting('Low').events], [3, parts - 3]);
    assert.ok(hub.attempts.length >= 6);
    assertClosed(queues);
    await queues.stop(); // as after kill -9: the publisher doesn't send what is left
    const settled = publisher.stop();
    await time.tickAsync(seconds(11));
    await settled;
    hub.isDown = () => false;
    await begin();
    while (queues.waiting('Low').events > 0) await flush();

    assert.deepEqual(
      labels().map(({ Part, Parts }) => [Part, Parts]),
      Array.from({ length: parts }, (_, n) => [String(n + 1), String(parts)]),
    );
    assert.equal(new Set(labels().map(({ SnapshotId }) => SnapshotId)).size, 1);
    const rows = arrived().flatMap(({ Payload: payload }) => payload.map(withoutLabel));
    assert.deepEqual(rows, await osBaseline.collect(from, new AbortController().signal));
    const bodies = new Map(hub.attempts.map(({ id, body }) => [id, body]));
    for (const { id, body } of hub.attempts) assert.equal(bodies.get(id), body);
    assert.equal(bodies.size, hub.accepted.length); // a repeat has the id it had, after the restart too
    const { collected, delivered, dropped, queued } = queues.account('Low').totals;
    assert.deepEqual([collected, delivered, Object.values(dropped), queued], [parts, parts, [], 0]);
    assertClosed(queues);
    for (const message of hub.attempts) {
      assert.ok(sizeOf(message) <= 8192);
      assert.deepEqual(faultsIn(JSON.parse(message.body), { isMarked: false }), []);
    }
  });

  it('uses at most its share of the daily units, and reports omitted rows', async () => {
    await begin({ unitsPerDay: 40, rows: 400 }); // Low may use 32
    await snapshots.takeNow(['OSBaseline']);
    await flush();
    const units = hub.accepted.reduce((all, message) => all + unitsOf(sizeOf(message)), 0);
    assert.ok(units > 4 && units <= 8, String(units));
    assert.equal(queues.waiting('Low').events, 0);
    const rows = arrived().flatMap(({ Payload: payload }) => payload);
    assert.equal(Number(detailsOf(rows.at(-1) ?? {}).OmittedElements), 400 - rows.length);
    assert.equal(snapshots.lastRun('OSBaseline')?.source?.state, 'degraded');
  });

  it('is shortened part by part, and keeps its labels, when messages become smaller while it waits', async () => {
    settings.replace({ ...settings.current(), maxMessageSizeInBytes: 16_384 });
    await begin();
    hub.state = 'connecting'; // nothing is sent yet, full as the queue is
    await snapshots.takeNow(['OSBaseline']);
    const parts = queues.waiting('Low').events;
    settings.replace({ ...settings.current(), maxMessageSizeInBytes: 8192 });
    hub.state = 'connected';
    while (queues.waiting('Low').events > 0) await flush();
    for (const message of hub.accepted) assert.ok(sizeOf(message) <= 8192);
    assert.deepEqual(
      labels().map(({ Part }) => Part),
      Array.from({ length: parts }, (_, n) => String(n + 1)),
    );
    const rows = arrived().flatMap(({ Payload: payload }) => payload);
    const omitted = rows.map((row) => Number(detailsOf(row).OmittedElements ?? 0)).reduce((all, n) => all + n, 0);
    assert.equal(rows.length + omitted, 60);
  });
});
