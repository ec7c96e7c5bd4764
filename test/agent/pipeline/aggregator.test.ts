import assert from 'node:assert/strict';
import { memoryUsage } from 'node:process';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import sinon from 'sinon';
import { listeningPorts } from '../../../src/agent/collectors/listening-ports.ts';
import { processCreate } from '../../../src/agent/collectors/process-create.ts';
import type { LiveSettings } from '../../../src/agent/config/twin-configuration.ts';
import { Aggregator } from '../../../src/agent/pipeline/aggregator.ts';
import { envelope } from '../../../src/agent/pipeline/envelope.ts';
import { pack } from '../../../src/agent/pipeline/pack.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { hours, milliseconds, minutes } from '../../../src/core/base/duration.ts';
import type { LogLine } from '../../../src/core/base/log.ts';
import { type TriggeredCollector, triggered } from '../../../src/core/contract/collector.ts';
import type { Payload, QueueName } from '../../../src/core/contract/event.ts';
import { LONGEST_EVIDENCE, sizeOf } from '../../../src/core/contract/message.ts';
import type { Settings } from '../../../src/core/contract/settings.ts';
import type { OutgoingEvent } from '../../../src/core/contract/store.ts';
import { aggregating, eventOf, liveSettings, MemoryQueues, quietLog, someSettings } from './memory-queues.ts';
import { SimulatedFiles, seeded } from './simulated-files.ts';

const NOON = new Date('2024-05-01T12:00:00.000Z');
const at = (second: number) => new Date(NOON.getTime() + second * 1_000);

const process = (change: Partial<Record<string, unknown>> = {}): Payload => ({
  Executable: '/usr/bin/ls',
  CommandLine: 'ls',
  ProcessId: 7,
  ParentProcessId: 6,
  UserId: '0',
  UserName: 'root',
  ...change,
});

const SENDER = { version: '10.20.30-candidate.40', id: '0b5c3f5e-93a4-4b6b-8d7c-0a1b2c3d4e5f' };
const LONGEST_ID = 'x'.repeat(512);

/** Whether an event gets whole into the smallest message a twin may ask for, with the longest properties. */
function fitsUncut(event: OutgoingEvent): boolean {
  const queues = new MemoryQueues();
  queues.put('Low', [event]);
  const packed = pack(queues, 'Low', SENDER, { maxMessageSizeInBytes: 8192, hubResourceId: LONGEST_ID });
  return packed !== 'empty' && 'message' in packed && packed.message('security').body.includes(event.json);
}

const heap = () => memoryUsage().heapUsed;

describe('Aggregator', () => {
  let time: sinon.SinonFakeTimers;
  let settings: LiveSettings;
  let aggregator: Aggregator;
  let put: { queue: QueueName; event: OutgoingEvent }[];
  let dropped: unknown[][];
  let files: SimulatedFiles;
  let logged: LogLine[];
  const otherAggregators: Aggregator[] = [];
  let life = 0;

  const aggregation = (enabled = true, interval = hours(1)) => aggregating(['ProcessCreate'], interval, enabled);
  const inQueue = (queue: QueueName) => put.filter((one) => one.queue === queue).length;
  const queues = {
    put: (queue: QueueName, events: readonly OutgoingEvent[]) => {
      put.push(...events.map((event) => ({ queue, event })));
      return events.length;
    },
    drop: (...drop: unknown[]) => void dropped.push(drop),
    positions: (queue: QueueName) => ({ next: inQueue(queue), lasting: inQueue(queue) }),
  };
  const create = (change: Partial<ConstructorParameters<typeof Aggregator>[0]> = {}) => {
    const mine = life;
    const forever = new Promise<void>(() => {});
    const created = new Aggregator({
      settings,
      // Once its process has been killed, nothing wakes it.
      clock: {
        ...systemClock,
        sleep: (...how) => systemClock.sleep(...how).then(() => (mine === life ? undefined : forever)),
      },
      queues,
      directory: '/counts',
      files,
      log: quietLog(logged),
      ...change,
    });
    otherAggregators.push(created);
    return created;
  };
  /** Closes all windows, by a change of their interval. */
  const flush = () => {
    const interval = (settings.current().aggregationInterval.ProcessCreate ?? 0) + 1_000;
    settings.replace({ ...settings.current(), ...aggregation(true, milliseconds(interval)) });
  };

  beforeEach(async () => {
    time = sinon.useFakeTimers({ now: NOON });
    settings = liveSettings({ priorities: { ProcessCreate: 'Low' }, ...aggregation() });
    put = [];
    dropped = [];
    logged = [];
    files = new SimulatedFiles(seeded(1));
    aggregator = create();
    await aggregator.start();
  });
  afterEach(async () => {
    for (const started of otherAggregators.splice(0)) await started.stop();
    time.restore();
  });

  const envelopes = () => put.map(({ event }) => JSON.parse(event.json));
  const elements = () => envelopes().flatMap(({ Payload: payload }) => payload as Payload[]);
  const hits = () => elements().map(({ ExtraDetails }) => Number((ExtraDetails as Payload).HitCount));

  it('counts equal occurrences and drops the fields that distinguish them', async () => {
    aggregator.add(processCreate, 'Low', process({ ProcessId: 1, ExtraDetails: { Terminal: 'pts0' } }), at(5));
    aggregator.add(processCreate, 'Low', process({ ProcessId: 2 }), at(2));
    aggregator.add(processCreate, 'Low', process({ ProcessId: 3 }), at(9));
    flush();
    assert.equal(put.length, 1);
    assert.deepEqual(
      [put[0]?.queue, put[0]?.event.name, put[0]?.event.elements, put[0]?.event.occurrences],
      ['Low', 'ProcessCreate', 1, 3],
    );
    const [{ ExtraDetails: details, ...element } = {}] = elements() as Record<string, unknown>[];
    assert.deepEqual(element, process({ ProcessId: 0, ParentProcessId: 0 }));
    const { StartTimeLocal, EndTimeLocal, ...rest } = details as Record<string, string>;
    assert.deepEqual(rest, {
      HitCount: '3',
      StartTimeUtc: '2024-05-01T12:00:02.000Z',
      EndTimeUtc: '2024-05-01T12:00:09.000Z',
    });
    assert.equal(Date.parse(StartTimeLocal ?? ''), at(2).getTime());
    assert.equal(Date.parse(EndTimeLocal ?? ''), at(9).getTime());
  });

  it('closes a window before it has more occurrences than an event can count', async () => {
    await aggregator.stop();
    aggregator = create({ maxHits: 5 });
    await aggregator.start();
    for (let count = 0; count < 4; count += 1) aggregator.add(processCreate, 'Low', process(), NOON);
    for (let count = 0; count < 3; count += 1)
      aggregator.add(processCreate, 'Low', process({ CommandLine: 'ls -l' }), NOON);
    assert.deepEqual(hits(), [4, 1]);
    assert.deepEqual(aggregator.pending('Low'), { ProcessCreate: { occurrences: 2, elements: 1 } });
  });

  for (const [field, value] of [
    ['CommandLine', 'ls -l'],
    ['Executable', '/bin/ls'],
    ['UserId', '1000'],
    ['UserName', 'admin'],
    ['UserName', undefined],
  ] as const) {
    it(`lists apart what differs in ${field}: ${value}`, async () => {
      aggregator.add(processCreate, 'Low', process(), NOON);
      aggregator.add(processCreate, 'Low', process({ [field]: value }), NOON);
      aggregator.add(processCreate, 'Low', process(), NOON);
      flush();
      assert.deepEqual(hits(), [2, 1]);
    });
  }

  it('does not mistake fields that run into one another', async () => {
    aggregator.add(processCreate, 'Low', process({ CommandLine: 'a","b', Executable: 'c' }), NOON);
    aggregator.add(processCreate, 'Low', process({ CommandLine: 'a', Executable: 'b","c' }), NOON);
    flush();
    assert.deepEqual(hits(), [1, 1]);
  });

  it('puts elements of different users into different events', async () => {
    for (const UserId of ['0', '2001', '0', '2002']) {
      for (let n = 0; n < 3; n += 1)
        aggregator.add(processCreate, 'Low', process({ UserId, CommandLine: `ls ${n}` }), at(n));
    }
    aggregator.flush();
    const users = put.map(({ event }) =>
      (JSON.parse(event.json) as { Payload: Payload[] }).Payload.map(({ UserId }) => UserId),
    );
    assert.deepEqual(users, [Array(3).fill('0'), Array(3).fill('2001'), Array(3).fill('2002')]);
    assert.deepEqual(
      put.map(({ event }) => event.occurrences),
      [6, 3, 3],
    );
  });

  it('closes a window an interval after its first occurrence, and opens a new one with the next', async () => {
    await time.tickAsync(minutes(20));
    aggregator.add(processCreate, 'Low', process(), at(0));
    await time.tickAsync(minutes(59));
    aggregator.add(processCreate, 'Low', process(), at(1));
    await time.tickAsync(59_999);
    assert.equal(put.length, 0);
    await time.tickAsync(1);
    assert.deepEqual(hits(), [2]);
    assert.equal(envelopes()[0].TimestampUTC, '2024-05-01T13:20:00.000Z');
    aggregator.add(processCreate, 'Low', process(), at(2));
    await time.tickAsync(hours(1) - 1);
    assert.equal(put.length, 1);
    await time.tickAsync(1);
    assert.deepEqual(hits(), [2, 1]);
  });

  it('sends nothing when nothing happened', async () => {
    await time.tickAsync(hours(50));
    assert.deepEqual(put, []);
  });

  it('keeps a window open for an interval that no timer can hold', async () => {
    settings.replace(someSettings({ ...settings.current(), ...aggregation(true, hours(24 * 30)) }));
    aggregator.add(processCreate, 'Low', process(), NOON);
    await time.tickAsync(hours(24 * 30) - 1);
    assert.equal(put.length, 0);
    await time.tickAsync(1);
    assert.equal(put.length, 1);
  });

  it('flushes at a change of the interval, under the old one no longer', async () => {
    aggregator.add(processCreate, 'Low', process(), NOON);
    settings.replace({ ...settings.current(), ...aggregation(true, minutes(1)) });
    assert.deepEqual(hits(), [1]);
    aggregator.add(processCreate, 'Low', process(), NOON);
    await time.tickAsync(minutes(1));
    assert.deepEqual(hits(), [1, 1]);
  });

  it('flushes when it is switched off', () => {
    aggregator.add(processCreate, 'Low', process(), NOON);
    settings.replace({ ...settings.current(), ...aggregation(false) });
    assert.deepEqual(hits(), [1]);
  });

  for (const now of ['High', 'Off'] as const) {
    it(`flushes under the old priority when the new one is ${now}`, () => {
      aggregator.add(processCreate, 'Low', process(), NOON);
      settings.replace({ ...settings.current(), priorities: { ProcessCreate: now } });
      assert.deepEqual(
        put.map(({ queue }) => queue),
        ['Low'],
      );
    });
  }

  it('does not flush at a change that does not concern it', () => {
    aggregator.add(processCreate, 'Low', process(), NOON);
    settings.replace({
      ...settings.current(),
      hubResourceId: 'id',
      priorities: { ProcessCreate: 'Low', LocalUsers: 'Off' },
      aggregationEnabled: { ProcessCreate: true, ProcessTerminate: false },
      aggregationInterval: { ProcessCreate: hours(1), ProcessTerminate: minutes(1) },
    });
    assert.deepEqual(put, []);
  });

  it('stops before it was started, and loses nothing', async () => {
    const other = create();
    other.add(processCreate, 'Low', process(), NOON);
    await other.stop();
    await other.stop();
    assert.deepEqual(hits(), [1]);
  });

  it('lists pending elements by queue and event', () => {
    assert.deepEqual(aggregator.pending('Low'), {});
    aggregator.add(processCreate, 'Low', process(), NOON);
    aggregator.add(processCreate, 'Low', process(), NOON);
    aggregator.add(processCreate, 'Low', process({ CommandLine: 'ls -l' }), NOON);
    assert.deepEqual(aggregator.pending('Low'), { ProcessCreate: { occurrences: 3, elements: 2 } });
    assert.deepEqual(aggregator.pending('High'), {});
  });

  it('lets the least frequent leave early when there are too many, the oldest of them first', () => {
    const small = (n: number) => process({ Executable: '/bin/ls', CommandLine: `${n}`, UserName: undefined });
    const frequent = [1, 4_999, 9_998];
    for (let n = 0; n < 10_000; n += 1) aggregator.add(processCreate, 'Low', small(n), at(n));
    for (const n of frequent) aggregator.add(processCreate, 'Low', small(n), NOON);
    assert.equal(put.length, 0);
    aggregator.add(processCreate, 'Low', small(10_000), at(10_000));
    assert.equal(elements().length, 2_501);
    assert.deepEqual(aggregator.pending('Low'), { ProcessCreate: { occurrences: 7_503, elements: 7_500 } });
    const left = elements().map(({ CommandLine }) => Number(CommandLine));
    assert.deepEqual(left.slice(0, 3), [0, 2, 3]);
    assert.equal(left.at(-1), 2_501);
    aggregator.add(processCreate, 'Low', small(1), NOON); // is still counted
    aggregator.add(processCreate, 'Low', small(0), NOON); // a new element
    assert.deepEqual(aggregator.pending('Low'), { ProcessCreate: { occurrences: 7_505, elements: 7_501 } });
  });

  it('holds at most a megabyte for any input, and miscounts nothing', () => {
    const long = 'x'.repeat(131_072);
    let most = 0;
    for (let n = 0; n < 100; n += 1) {
      for (let hit = 0; hit < 2; hit += 1)
        aggregator.add(processCreate, 'Low', process({ CommandLine: `${long} ${n}` }), NOON);
      const { occurrences = 0, elements: pending = 0 } = aggregator.pending('Low').ProcessCreate ?? {};
      most = Math.max(most, pending);
      const queued = put.reduce((all, { event }) => all + event.occurrences, 0);
      assert.equal(queued + occurrences, 2 * (n + 1));
    }
    assert.equal(most, 7); // an eighth goes beyond a megabyte
    flush();
    assert.equal(
      hits().reduce((all, n) => all + n, 0),
      200,
    );
  });

  it('holds half of what the queues may take, when that is less', () => {
    settings.replace({ ...settings.current(), maxLocalCacheSizeInBytes: 8192 });
    const command = (n: number) => process({ CommandLine: `${'x'.repeat(400)} ${n}` });
    for (let n = 0; n < 50; n += 1) aggregator.add(processCreate, 'Low', command(n), NOON);
    assert.ok((aggregator.pending('Low').ProcessCreate?.elements ?? 0) <= 8);
    const one = process({ CommandLine: 'x'.repeat(5_000) });
    aggregator.add(processCreate, 'Low', one, NOON);
    aggregator.add(processCreate, 'Low', one, NOON);
    assert.deepEqual(aggregator.pending('Low'), {});
    assert.equal(
      hits().reduce((all, n) => all + n, 0),
      52,
    );
  });

  it('evicts elements when the limit of the queues shrinks', () => {
    for (let n = 0; n < 50; n += 1)
      aggregator.add(processCreate, 'Low', process({ CommandLine: `${'x'.repeat(400)} ${n}` }), NOON);
    settings.replace({ ...settings.current(), maxLocalCacheSizeInBytes: 8192 });
    assert.ok((aggregator.pending('Low').ProcessCreate?.elements ?? 0) <= 8);
  });

  describe('shares its memory among users', () => {
    const start = (user: string, command: string) =>
      process({ UserId: user, UserName: `u${user}`, CommandLine: command });
    const flood = (count: number, bytes: number) => {
      for (let n = 0; n < count; n += 1)
        aggregator.add(processCreate, 'Low', start('2001', `/bin/true ${n} ${'x'.repeat(bytes)}`), at(n));
    };
    const leftEarly = (user: string) => elements().filter(({ UserId }) => UserId === user).length;

    for (const [what, count, bytes] of [
      ['long commands', 500, 110_000],
      ['many commands', 30_000, 10],
    ] as const)
      it(`keeps the elements of otherAggregators while one user adds ${what}`, () => {
        for (let n = 0; n < 500; n += 1) aggregator.add(processCreate, 'Low', start('0', `/usr/bin/id ${n}`), at(n));
        for (let n = 0; n < 500; n += 1) aggregator.add(processCreate, 'Low', start('33', `/usr/bin/php ${n}`), at(n));
        flood(count, bytes);
        assert.deepEqual([leftEarly('0'), leftEarly('33')], [0, 0]);
        assert.ok(leftEarly('2001') > 0);
      });

    it('marks the events of a user who floods it with their owner, and mixes them with no otherAggregators', () => {
      for (let n = 0; n < 50; n += 1) aggregator.add(processCreate, 'Low', start('0', `/usr/bin/id ${n}`), at(n));
      flood(100, 1_000);
      flush();
      for (const { event } of put) {
        const users = new Set((JSON.parse(event.json).Payload as Payload[]).map(({ UserId }) => UserId));
        assert.equal(users.size, 1);
        assert.equal(event.owner, `UserId ${[...users][0]}`);
      }
    });
  });

  it('evicts from the largest window', () => {
    const other = triggered({ ...processCreate, name: 'ProcessTerminate' } as unknown as Parameters<
      typeof triggered
    >[0]);
    const long = 'x'.repeat(100_000);
    for (let n = 0; n < 7; n += 1) aggregator.add(processCreate, 'Low', process({ CommandLine: `${long} ${n}` }), NOON);
    for (let n = 0; n < 4; n += 1) aggregator.add(other, 'Low', process({ CommandLine: `${long} ${n}` }), NOON);
    assert.deepEqual(
      put.map(({ event }) => event.name),
      Array.from({ length: 4 }, () => 'ProcessCreate'),
    );
    assert.deepEqual(aggregator.pending('Low'), {
      ProcessCreate: { occurrences: 3, elements: 3 },
      ProcessTerminate: { occurrences: 4, elements: 4 },
    });
  });

  it('distinguishes long commands by their last character, and different lone surrogates', async () => {
    const long = 'x'.repeat(5_000);
    for (const command of [`${long}a`, `${long}b`, `${long}\ud800`, `${long}\ud801`, `${long}\ufffd`, `${long}a`])
      aggregator.add(processCreate, 'Low', process({ CommandLine: command }), NOON);
    flush();
    assert.deepEqual(hits(), [2, 1, 1, 1, 1]);
  });

  it('keeps no record in memory because of a part of it', async () => {
    if (globalThis.gc === undefined) setFlagsFromString('--expose-gc');
    const gc = globalThis.gc ?? (runInNewContext('gc') as () => void);
    const record = (n: number) => `${'x'.repeat(50_000)} /usr/bin/a-rather-long-name ${n}`;
    gc();
    const before = heap();
    for (let n = 0; n < 1_000; n += 1)
      aggregator.add(processCreate, 'Low', process({ Executable: record(n).slice(50_001) }), NOON);
    gc();
    assert.ok(heap() - before < 5e6, `${heap() - before} bytes`); // with the records it would be 50 MB
  });

  it('cuts a window into events whose elements take at most 7000 bytes, and miscounts none', async () => {
    const word = fc.oneof(fc.string({ maxLength: 200 }), fc.string({ unit: 'binary', maxLength: 200 }));
    const occurrences = fc.array(fc.tuple(word, fc.nat(4)), { minLength: 1, maxLength: 120 });
    await fc.assert(
      fc.asyncProperty(occurrences, async (commands) => {
        put = [];
        const one = create();
        const expected = new Map<string, number>();
        for (const [command, times] of commands) {
          for (let n = 0; n <= times; n += 1) {
            one.add(processCreate, 'Low', process({ CommandLine: command }), NOON);
            expected.set(command, (expected.get(command) ?? 0) + 1);
          }
        }
        flush();
        const counted = elements().map(({ CommandLine, ExtraDetails }) => [
          CommandLine,
          Number((ExtraDetails as Payload).HitCount),
        ]);
        // UTF-8 cannot encode a lone surrogate, so strings are compared in their written form.
        assert.deepEqual(counted, JSON.parse(JSON.stringify([...expected])));
        for (const { event } of put) {
          const { Payload: payload } = JSON.parse(event.json) as { Payload: Payload[] };
          assert.ok(payload.length === 1 || Buffer.byteLength(JSON.stringify(payload)) - 1 <= 6_800);
          assert.equal(event.elements, payload.length);
          const sum = payload.reduce((all, { ExtraDetails }) => all + Number((ExtraDetails as Payload).HitCount), 0);
          assert.equal(event.occurrences, sum);
        }
      }),
      { numRuns: 30 },
    );
  });

  it('fills its events well', async () => {
    for (let n = 0; n < 500; n += 1) aggregator.add(processCreate, 'Low', process({ CommandLine: `ls ${n}` }), NOON);
    flush();
    for (const { event } of put.slice(0, -1)) assert.ok(event.json.length > 6_500, String(event.json.length));
  });

  it('makes events that fit into the smallest message a twin may ask for', async () => {
    for (let n = 0; n < 500; n += 1) {
      aggregator.add(processCreate, 'Low', process({ CommandLine: `ls ${'x'.repeat(n)}` }), NOON);
    }
    flush();
    for (const { event } of put) assert.ok(fitsUncut(event));
  });

  it('leaves space for the largest possible envelope', () => {
    const name = 'X'.repeat(32);
    const around = JSON.stringify(envelope({ ...processCreate, name, type: 'Operational' }, [], NOON));
    const full = around.replace('true', 'false').replace(/\]}$/, `${'7'.repeat(6_800)}]}`);
    assert.ok(Buffer.byteLength(full) - 6_800 <= 300, around);
    const { id, version } = SENDER;
    const body = JSON.stringify({ AgentVersion: version, AgentId: id, MessageSchemaVersion: '1.0', Events: [] });
    assert.ok(Buffer.byteLength(body) <= 145, body);
    for (const marking of ['security', 'telemetry'] as const) {
      const properties = sizeOf({
        id,
        body: '',
        bodyBytes: 0,
        priority: 'High',
        marking,
        hubResourceId: LONGEST_ID,
        evidence: LONGEST_EVIDENCE,
      });
      assert.ok(properties <= 840, String(properties));
    }
    assert.ok(6_800 + 300 + 145 + 840 <= 8192);
    assert.ok(fitsUncut({ name, elements: 1, occurrences: 1, json: full }));
  });

  it('gives an element that is longer an event of its own', async () => {
    const long = 'x'.repeat(20_000);
    for (const command of ['a', long, 'b'])
      aggregator.add(processCreate, 'Low', process({ CommandLine: command }), NOON);
    flush();
    assert.deepEqual(
      envelopes().map(({ Payload: payload }) => payload.map(({ CommandLine }: Payload) => CommandLine)),
      [['a'], [long], ['b']],
    );
  });

  it('rejects an occurrence without a valid time and continues', () => {
    for (const time of [Number.NaN, 2 ** 51, -8.64e15])
      assert.throws(() => aggregator.add(processCreate, 'Low', process(), new Date(time)), RangeError);
    const endless: Record<string, unknown> = process();
    endless.Executable = endless;
    assert.throws(() => aggregator.add(processCreate, 'Low', endless, NOON), TypeError);
    assert.deepEqual(aggregator.pending('Low'), {});
    aggregator.add(processCreate, 'Low', process(), NOON);
    assert.deepEqual(aggregator.pending('Low'), { ProcessCreate: { occurrences: 1, elements: 1 } });
  });

  describe('over a restart', () => {
    const two = () => {
      for (const CommandLine of ['ls', 'ls', 'ps'])
        aggregator.add(processCreate, 'Low', process({ CommandLine }), NOON);
    };
    const PENDING = { ProcessCreate: { occurrences: 3, elements: 2 } };
    /** As kill -9 between two turns of the event loop. */
    const killed = async (change: Partial<Settings> = {}) => {
      await Promise.resolve();
      life += 1;
      otherAggregators.length = 0;
      settings = liveSettings({ ...settings.current(), ...change });
      aggregator = create();
      await aggregator.start();
    };

    it('continues counting after a restart and closes the window on time', async () => {
      two();
      await time.tickAsync(minutes(20));
      await killed();
      assert.deepEqual(aggregator.pending('Low'), PENDING);
      aggregator.add(processCreate, 'Low', process(), at(9));
      assert.deepEqual(aggregator.pending('Low'), { ProcessCreate: { occurrences: 4, elements: 2 } });
      await time.tickAsync(minutes(40) - 1);
      assert.deepEqual(put, []);
      await time.tickAsync(1);
      assert.deepEqual(hits(), [3, 1]);
    });

    it('keeps its counts at the end of a run, and queues nothing', async () => {
      two();
      await aggregator.stop();
      await aggregator.stop();
      assert.deepEqual(put, []);
      await killed();
      assert.deepEqual(aggregator.pending('Low'), PENDING);
    });

    it('ends within five seconds although the disk answers no sync, and queues nothing', async () => {
      const { create: make } = files;
      files.create = (path) => Object.assign(make.call(files, path), { sync: () => new Promise<void>(() => {}) });
      two();
      await time.tickAsync(minutes(1));
      aggregator.add(processCreate, 'Low', process({ CommandLine: 'ps' }), NOON);
      let hasStopped = false;
      void aggregator.stop().then(() => {
        hasStopped = true;
      });
      await time.tickAsync(5_000);
      assert.ok(hasStopped);
      assert.deepEqual(put, []);
      files.create = make;
      await killed();
      assert.deepEqual(aggregator.pending('Low'), { ProcessCreate: { occurrences: 4, elements: 2 } });
    });

    it('queues them at the end of a run when a sync fails that was under way', async () => {
      let fail = (_: Error) => {};
      const { create: make } = files;
      files.create = (path) =>
        Object.assign(make.call(files, path), { sync: () => new Promise<void>((_, reject) => (fail = reject)) });
      two();
      await time.tickAsync(minutes(1));
      files.fault = (operation) => (operation === 'create' ? 'EROFS' : undefined);
      const stopped = aggregator.stop();
      await time.tickAsync(1);
      fail(new Error('EIO'));
      await stopped;
      assert.deepEqual(hits(), [2, 1]);
    });

    it('leaves them to the next run when settings change while the rest of the agent is still stopping', async () => {
      two();
      await aggregator.stop();
      flush();
      settings.replace({ ...settings.current(), maxLocalCacheSizeInBytes: 1 });
      assert.deepEqual(put, []);
      await killed();
      assert.deepEqual(hits(), [2, 1]);
    });

    it('leaves them to the next run when a flush is asked for while the rest of the agent is still stopping', async () => {
      two();
      await aggregator.stop();
      flush();
      aggregator.flush();
      assert.deepEqual(put, []);
      await killed();
      assert.deepEqual(hits(), [2, 1]);
    });

    it('queues them at the end of a run when they cannot be saved', async () => {
      files.fault = (operation) => (operation === 'create' ? 'EROFS' : undefined);
      two();
      await aggregator.stop();
      assert.deepEqual(hits(), [2, 1]);
      assert.deepEqual(
        logged.map(({ level, message }) => [level, message]),
        [['error', 'Cannot save the counts of aggregated events; they are kept in memory. (EROFS: simulated)']],
      );
    });

    it('logs once that the disk refuses writes, and once that it accepts them again', async () => {
      files.fault = (operation) => (operation === 'create' ? 'ENOSPC' : undefined);
      for (let n = 0; n < 5; n += 1) {
        aggregator.add(processCreate, 'Low', process(), NOON);
        await time.tickAsync(1_000);
      }
      files.fault = () => undefined;
      await time.tickAsync(2_000);
      assert.deepEqual(
        logged.map(({ level }) => level),
        ['error', 'info'],
      );
      await killed();
      assert.deepEqual(aggregator.pending('Low'), { ProcessCreate: { occurrences: 5, elements: 1 } });
    });

    it('takes them up as soon as a disk can be read that could not', async () => {
      two();
      await Promise.resolve();
      files.fault = (operation) => (operation === 'list' ? 'EIO' : undefined);
      await killed();
      aggregator.add(processCreate, 'Low', process(), at(9));
      await time.tickAsync(2_000);
      assert.deepEqual(aggregator.pending('Low'), { ProcessCreate: { occurrences: 1, elements: 1 } });
      files.fault = () => undefined;
      await time.tickAsync(2_000);
      assert.deepEqual([aggregator.pending('Low'), hits()], [PENDING, [1]]);
      await killed();
      assert.deepEqual(aggregator.pending('Low'), PENDING);
    });

    it('derives the elements that had left from the positions of the queues at the start', async () => {
      two();
      const { put: putSafely } = queues;
      queues.put = () => {
        throw new Error('The process is dead.');
      };
      assert.throws(flush);
      queues.put = putSafely;
      files.fault = (operation) => (operation === 'list' ? 'EIO' : undefined);
      await killed();
      queues.put('Low', [eventOf(100)]);
      files.fault = () => undefined;
      await time.tickAsync(2_000);
      assert.deepEqual(
        put.slice(1).map(({ event }) => event.occurrences),
        [3],
      );
    });

    it('does not fill a disk that never syncs, nor the log', async () => {
      files.fault = (operation) => (operation.startsWith('sync') ? 'EINVAL' : undefined);
      for (let n = 0; n < 100; n += 1) {
        aggregator.add(processCreate, 'Low', process(), NOON);
        await time.tickAsync(1_000);
        assert.ok(files.files.size <= 6, `${files.files.size} files`);
      }
      assert.deepEqual(
        logged.map(({ level }) => level),
        ['error'],
      );
      await killed();
      assert.deepEqual(aggregator.pending('Low'), { ProcessCreate: { occurrences: 100, elements: 1 } });
    });

    it('creates its folder again if it was removed', async () => {
      let exists = true;
      files.fault = (operation) => (exists || operation === 'list' ? undefined : 'ENOENT');
      files.makeFolder = () => {
        exists = true;
      };
      two();
      await time.tickAsync(1_000);
      exists = false;
      files.files.clear();
      two();
      await time.tickAsync(2_000);
      await killed();
      assert.deepEqual(aggregator.pending('Low'), { ProcessCreate: { occurrences: 6, elements: 2 } });
    });

    for (const [what, years] of [
      ['back', -10],
      ['forth', 10],
    ] as const) {
      it(`closes within an interval when the clock has been set ${what} by ten years`, async () => {
        two();
        await killed();
        time.setSystemTime(Date.now() + years * 365 * hours(24));
        await killed();
        await time.tickAsync(hours(1));
        assert.deepEqual(hits(), [2, 1]);
      });
    }

    it('closes a window immediately if it expired while the agent was down', async () => {
      two();
      await Promise.resolve();
      time.setSystemTime(Date.now() + hours(5));
      await killed();
      await time.tickAsync(0);
      assert.deepEqual(hits(), [2, 1]);
    });

    for (const [what, change] of Object.entries({
      'is off now': { priorities: { ProcessCreate: 'Off' } },
      'has another priority now': { priorities: { ProcessCreate: 'High' } },
      'has another interval now': aggregation(true, minutes(1)),
      'is not aggregated any more': aggregation(false),
      'is not known any more': { ...aggregating([]), priorities: {} },
    } satisfies Record<string, Partial<Settings>>)) {
      it(`queues under the old priority what ${what}`, async () => {
        two();
        await killed(change);
        assert.deepEqual(hits(), [2, 1]);
        assert.deepEqual(
          put.map(({ queue, event }) => [queue, event.name]),
          [['Low', 'ProcessCreate']],
        );
        await killed();
        assert.deepEqual(hits(), [2, 1]);
        assert.deepEqual(aggregator.pending('Low'), {});
      });
    }

    it('counts as corrupt what is damaged', async () => {
      two();
      await Promise.resolve();
      const [file = assert.fail()] = files.files.values();
      file.data.writeUInt8(0, file.data.indexOf('"ls"'));
      await killed();
      assert.deepEqual(dropped, [['Low', 'Unidentified', 'corrupt', 1]]); // of the damaged record, no more is known
      assert.deepEqual(aggregator.pending('Low'), { ProcessCreate: { occurrences: 1, elements: 1 } });
      assert.deepEqual(
        logged.map(({ level }) => level),
        ['error'],
      );
    });

    it('writes counts at once and syncs them within the interval that spares the disk', async () => {
      let saves = 0;
      aggregator = create({ syncEvery: minutes(10), saved: () => (saves += 1) });
      await aggregator.start();
      aggregator.add(processCreate, 'Low', process(), at(1));
      await Promise.resolve();
      assert.equal(saves, 1);
      await time.tickAsync(minutes(10) - 1);
      assert.equal(files.counts.sync ?? 0, 0);
      await time.tickAsync(1);
      assert.equal(files.counts.sync, 2); // the file and its folder
      aggregator.add(processCreate, 'Low', process(), at(2));
      await killed();
      assert.equal(aggregator.pending('Low').ProcessCreate?.occurrences, 2);
    });

    it('writes everything counted in one turn of the event loop at once', async () => {
      for (let n = 0; n < 20_000; n += 1) aggregator.add(processCreate, 'Low', process(), NOON);
      await Promise.resolve();
      assert.equal(files.counts.append, 1);
      await time.tickAsync(5_000);
      assert.deepEqual([files.counts.append, files.counts.sync], [1, 2]); // the file and its folder
    });
  });

  it('counts any number that are alike in their first field, whatever they differ in', () => {
    const differing = ['Executable', 'UserId', 'UserName'] as const;
    const many = differing.flatMap((field) => Array.from({ length: 30 }, (_, n) => process({ [field]: `${n}` })));
    const images = Array.from({ length: 30 }, (_, n) => process({ ExtraDetails: { Sha256: `${n}` } }));
    for (let round = 0; round < 3; round += 1)
      for (const payload of [...many, ...images]) aggregator.add(processCreate, 'Low', payload, NOON);
    assert.deepEqual(aggregator.pending('Low'), { ProcessCreate: { occurrences: 360, elements: 120 } });
    flush();
    assert.ok(hits().every((n) => n === 3));
  });

  it('distinguishes numbers from strings, and a missing value from an empty string', () => {
    for (const UserName of ['', undefined, '1', 1, 'undefined'])
      for (let n = 0; n < 2; n += 1) aggregator.add(processCreate, 'Low', process({ UserName }), NOON);
    assert.deepEqual(aggregator.pending('Low'), { ProcessCreate: { occurrences: 10, elements: 5 } });
  });

  it('keeps its counts when it stops although its loop meets nothing but defects', async () => {
    const broken = { ...systemClock, sleep: sinon.stub().rejects(new Error('a defect')) };
    broken.sleep.onSecondCall().callsFake(systemClock.sleep).onCall(3).callsFake(systemClock.sleep);
    files = new SimulatedFiles(seeded(2));
    const other = create({ clock: broken });
    await other.start();
    other.add(processCreate, 'Low', process(), NOON);
    await time.tickAsync(1_500);
    await other.stop();
    assert.deepEqual(
      logged.map(({ level, id }) => [level, id]),
      [['error', 'INTERNAL']],
    );
    const next = create({ settings: liveSettings(settings.current()) });
    await next.start();
    assert.deepEqual(next.pending('Low'), { ProcessCreate: { occurrences: 1, elements: 1 } });
  });

  it('refuses an event that cannot be aggregated', () => {
    const odd = listeningPorts as unknown as TriggeredCollector;
    assert.throws(() => aggregator.add(odd, 'Low', eventOf(1) as unknown as Payload, NOON), TypeError);
  });
});
