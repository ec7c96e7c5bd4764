import assert from 'node:assert/strict';
import sinon from 'sinon';
import * as v from 'valibot';
import { processCreate } from '../../../src/agent/collectors/process-create.ts';
import type { LiveSettings } from '../../../src/agent/config/twin-configuration.ts';
import { Snapshots } from '../../../src/agent/pipeline/snapshots.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { days, hours, minutes, seconds } from '../../../src/core/base/duration.ts';
import type { LogLine } from '../../../src/core/base/log.ts';
import { type LeavesOut, type PeriodicCollector, periodic } from '../../../src/core/contract/collector.ts';
import type { Snapshot } from '../../../src/core/contract/consumers.ts';
import type { Payload } from '../../../src/core/contract/event.ts';
import type { Settings } from '../../../src/core/contract/settings.ts';
import type { Sources } from '../../../src/core/contract/sources.ts';
import { DECLARED } from '../../harness/declared.ts';
import { liveSettings, MemoryQueues, quietLog } from './memory-queues.ts';

const schema = v.record(v.string(), v.unknown());
const declared = { ...DECLARED, payload: schema };

describe('Snapshots', () => {
  let time: sinon.SinonFakeTimers;
  let queues: MemoryQueues;
  let settings: LiveSettings;
  let snapshots: Snapshots;
  let logged: LogLine[];
  let rounds: number;
  let changed: () => void;
  let leavesOut: LeavesOut;
  let collectors: PeriodicCollector[];
  let collect: Record<string, sinon.SinonStub<[Sources, AbortSignal], Promise<Payload[]>>>;

  beforeEach(() => {
    time = sinon.useFakeTimers({ now: new Date('2024-05-01T12:00:00Z') });
    queues = new MemoryQueues();
    settings = liveSettings({
      snapshotFrequency: minutes(10),
      priorities: { A: 'Low', B: 'High', C: 'Low', ProcessCreate: 'Low' },
    });
    logged = [];
    rounds = 0;
    changed = () => {};
    leavesOut = () => undefined;
    collect = {};
    collectors = ['A', 'B', 'C'].map((name) => {
      const stub = sinon.stub<[Sources, AbortSignal], Promise<Payload[]>>();
      collect[name] = stub.resolves([{ Name: name }]);
      return periodic({ ...declared, name, collect: stub });
    });
  });
  afterEach(async () => {
    const stopped = snapshots.stop();
    await time.tickAsync(seconds(2));
    await stopped;
    time.restore();
  });

  const create = (options: { bytesPerDay?: () => number } = {}) => {
    snapshots = new Snapshots({
      ...options,
      collectors: [...collectors, processCreate],
      sources: {} as Sources,
      settings,
      queues,
      leavesOut: (...what) => leavesOut(...what),
      clock: systemClock,
      log: quietLog(logged),
      changed: () => {
        rounds += 1;
        changed();
      },
    });
  };
  const begin = async () => {
    await snapshots.start();
    await time.tickAsync(0);
  };
  const start = async (options: { bytesPerDay?: () => number } = {}) => {
    create(options);
    await begin();
  };
  const calls = () => ['A', 'B', 'C'].map((name) => collect[name]?.callCount);

  it('takes all of them at the start, and queues by priority', async () => {
    await start();
    assert.deepEqual(
      queues.envelopes('Low').map(({ Name, Payload: payload, Category }) => [Name, payload, Category]),
      [
        ['A', [{ Name: 'A' }], 'Periodic'],
        ['C', [{ Name: 'C' }], 'Periodic'],
      ],
    );
    assert.deepEqual(
      queues.envelopes('High').map(({ Name, TimestampUTC }) => [Name, TimestampUTC]),
      [['B', '2024-05-01T12:00:00.000Z']],
    );
    assert.equal(rounds, 1);
  });

  it('takes them again at the frequency', async () => {
    await start();
    await time.tickAsync(minutes(10) - 1);
    assert.deepEqual(calls(), [1, 1, 1]);
    await time.tickAsync(1);
    assert.deepEqual(calls(), [2, 2, 2]);
    await time.tickAsync(minutes(30));
    assert.deepEqual(calls(), [5, 5, 5]);
    assert.equal(rounds, 5);
  });

  it("measures from a round's beginning, however long the round takes", async () => {
    collect.A?.callsFake(async () => {
      await systemClock.sleep(minutes(1));
      return [];
    });
    await start();
    await time.tickAsync(minutes(10) - 1);
    assert.equal(collect.A?.callCount, 1);
    await time.tickAsync(1);
    assert.equal(collect.A?.callCount, 2);
  });

  it('sends what it did not find as well: that clears what was reported before', async () => {
    collect.A?.resolves([]);
    await start();
    const [event] = queues.envelopes('Low');
    assert.deepEqual([event.Name, event.IsEmpty, event.Payload], ['A', true, []]);
  });

  describe('asked for now', () => {
    it('takes requested snapshots, returns the result of each, and keeps the schedule of the rounds', async () => {
      await start();
      settings.replace({ ...settings.current(), priorities: { A: 'Low', B: 'High', C: 'Off' } });
      collect.A?.resolves([{ Name: 'A' }, { Name: 'A' }]);
      collect.B?.rejects(new Error('EACCES'));
      assert.deepEqual(await snapshots.takeNow(['C', 'B', 'A']), {
        A: { elements: 2 },
        B: { problem: 'EACCES' },
        C: { problem: 'its priority is Off in the module twin' },
      });
      assert.deepEqual(await snapshots.takeNow(['A']), { A: { elements: 2 } });
      assert.deepEqual(calls(), [3, 2, 1]);
      assert.equal(queues.envelopes('Low').filter(({ Name }) => Name === 'A').length, 3);
      assert.equal(rounds, 3);
      await time.tickAsync(minutes(10));
      assert.deepEqual(calls(), [4, 3, 1]);
    });

    it('takes each three times in a row in a loop, then once in five minutes, and reports the others', async () => {
      await start();
      const [before] = calls();
      const taken = [];
      for (let call = 0; call < 50; call += 1) {
        taken.push(await snapshots.takeOnRequest(['A']));
        await time.tickAsync(seconds(10));
      }
      const [after] = calls();
      assert.equal((after ?? 0) - (before ?? 0), 4);
      assert.deepEqual(taken[3], { A: { problem: 'it was taken 3 times in a row; call again in 270 s' } });
      assert.deepEqual(Object.keys((await snapshots.takeOnRequest(['B'])).B ?? {}), ['elements']);
    });

    it('waits for the one that is being taken', async () => {
      let inside = 0;
      let most = 0;
      collect.A?.callsFake(async () => {
        inside += 1;
        most = Math.max(most, inside);
        await systemClock.sleep(seconds(5));
        inside -= 1;
        return [];
      });
      await start();
      const taken = snapshots.takeNow(['A']);
      await time.tickAsync(seconds(10));
      assert.deepEqual([await taken, most, collect.A?.callCount], [{ A: { elements: 0 } }, 1, 2]);
    });

    it('reports that collecting is paused, and counts the snapshot', async () => {
      leavesOut = () => 'paused';
      await start();
      assert.deepEqual(await snapshots.takeNow(['A']), { A: { problem: 'collecting is paused' } });
      assert.deepEqual(calls(), [0, 0, 0]);
      assert.deepEqual(queues.dropped.at(-1), ['Low', 'A', 'paused', 1]);
    });

    it('takes snapshots skipped by a pause once the pause has ended', async () => {
      leavesOut = ({ type }) => (type === 'Security' ? 'paused' : undefined);
      await start();
      leavesOut = () => undefined;
      await time.tickAsync(minutes(1));
      assert.deepEqual(calls(), [0, 0, 0]);
      snapshots.catchUp();
      await time.tickAsync(0);
      assert.deepEqual(calls(), [1, 1, 1]);
    });
  });

  describe('offered to other consumers', () => {
    const seen: (Snapshot | string)[] = [];
    const offer = (wanted: readonly string[]) => {
      seen.length = 0;
      snapshots.offerTo({
        wants: (event) => wanted.includes(event),
        accept: (snapshot) => seen.push(snapshot),
        failed: (event, problem) => seen.push(`${event}: ${problem}`),
      });
    };

    it('come with all their rows, and with the number of those that the source left out', async () => {
      collectors[0] = periodic({
        ...declared,
        name: 'A',
        collect: async () => [{ Row: 1 }, { Row: 2 }],
        sourceStatus: () => ({ state: 'degraded', leftOut: 7 }),
      });
      create();
      offer(['A']);
      await begin();
      const at = new Date('2024-05-01T12:00:00Z');
      assert.deepEqual(seen, [
        { event: 'A', at, rows: [{ Row: 1 }, { Row: 2 }], leftOut: 7, source: { state: 'degraded' } },
      ]);
    });

    it('snapshots are taken for consumers even if they are off or paused, but then not sent or reported as taken', async () => {
      leavesOut = ({ type }, priority) => (type === 'Security' && priority === 'High' ? 'paused' : undefined);
      settings.replace({ ...settings.current(), priorities: { A: 'Off', B: 'High', C: 'Off' } });
      create();
      offer(['A', 'B']);
      await begin();
      assert.deepEqual(
        seen.map((each) => (typeof each === 'string' ? each : each.event)),
        ['A', 'B'],
      );
      assert.deepEqual([queues.envelopes('High'), queues.envelopes('Low')], [[], []]);
      assert.deepEqual(queues.dropped, [['High', 'B', 'paused', 1]]);
      assert.deepEqual([snapshots.lastRun('A'), collect.C?.callCount], [undefined, 0]);
    });

    it('failed snapshots are reported to consumers with the reason', async () => {
      collect.B?.rejects(new Error('EACCES'));
      create();
      offer(['B']);
      await begin();
      assert.deepEqual(seen, ['B: EACCES']);
    });

    it('snapshots that were taken but not queued are not reported as failed', async () => {
      create();
      queues.put = () => 0;
      offer(['B']);
      await begin();
      assert.match(snapshots.lastRun('B')?.problem ?? '', /queues/);
      assert.deepEqual(
        seen.map((each) => (typeof each === 'string' ? each : each.event)),
        ['B'],
      );
    });
  });

  it('skips collectors that are off, evaluated at each round', async () => {
    settings.replace({ ...settings.current(), priorities: { A: 'Off', B: 'High', C: 'Low' } });
    await start();
    assert.deepEqual(calls(), [0, 1, 1]);
    settings.replace({ ...settings.current(), priorities: { A: 'Low', B: 'Off', C: 'Low' } });
    await time.tickAsync(minutes(10));
    assert.deepEqual(calls(), [2, 1, 2]); // A once when it was switched on, once with the round
    assert.equal(snapshots.lastRun('B')?.at.toISOString(), '2024-05-01T12:00:00.000Z');
  });

  it('takes one that is switched on at once, and only that one', async () => {
    settings.replace({ ...settings.current(), priorities: { A: 'Off', B: 'High', C: 'Low' } });
    await start();
    settings.replace({ ...settings.current(), priorities: { A: 'Low', B: 'High', C: 'Low' } });
    await time.tickAsync(1);
    assert.equal(collect.A?.callCount, 1);
    assert.equal(collect.B?.callCount, 1);
    await time.tickAsync(minutes(10));
    assert.equal(collect.A?.callCount, 2);
  });

  it('applies a shorter frequency during a long wait', async () => {
    settings.replace({ ...settings.current(), snapshotFrequency: days(300) });
    await start();
    await time.tickAsync(days(1));
    assert.deepEqual(calls(), [1, 1, 1]);
    settings.replace({ ...settings.current(), snapshotFrequency: minutes(5) });
    await time.tickAsync(0);
    assert.deepEqual(calls(), [2, 2, 2]);
    await time.tickAsync(minutes(5));
    assert.deepEqual(calls(), [3, 3, 3]);
  });

  it('repeats a snapshot immediately if a changed setting outdates it, and no other', async () => {
    const [a] = collectors;
    assert.ok(a);
    Object.assign(a, { isOutdated: (before: Settings, now: Settings) => before.hubResourceId !== now.hubResourceId });
    await start();
    settings.replace({ ...settings.current(), hubResourceId: 'id' });
    await time.tickAsync(0);
    assert.deepEqual(calls(), [2, 1, 1]);
    settings.replace({ ...settings.current(), maxMessageSizeInBytes: 8192 });
    await time.tickAsync(minutes(10) - 1);
    assert.deepEqual(calls(), [2, 1, 1]);
    await time.tickAsync(1);
    assert.deepEqual(calls(), [3, 2, 2]);
  });

  it('takes one that is switched on again and again three times at once, and then every five minutes', async () => {
    settings.replace({ ...settings.current(), snapshotFrequency: hours(13) });
    await start();
    const at: number[] = [];
    for (let second = 1; second <= 1_000; second += 1) {
      const before = collect.A?.callCount;
      for (const A of ['Off', 'Low'] as const)
        settings.replace({ ...settings.current(), priorities: { A, B: 'High', C: 'Low' } });
      await time.tickAsync(seconds(1));
      if (collect.A?.callCount !== before) at.push(second);
    }
    assert.deepEqual(at, [1, 2, 3, 301, 601, 901]);
    assert.deepEqual([collect.B?.callCount, collect.C?.callCount], [1, 1]);
  });

  it('does not repeat an outdated snapshot while its collector is off', async () => {
    const [a] = collectors;
    assert.ok(a);
    Object.assign(a, { isOutdated: (before: Settings, now: Settings) => before.hubResourceId !== now.hubResourceId });
    settings.replace({ ...settings.current(), priorities: { A: 'Off', B: 'High', C: 'Low' } });
    await start();
    settings.replace({ ...settings.current(), hubResourceId: 'id' });
    await time.tickAsync(minutes(5));
    assert.deepEqual(calls(), [0, 1, 1]);
  });

  it('applies a longer frequency; other changes do not shorten the wait', async () => {
    await start();
    settings.replace({ ...settings.current(), hubResourceId: 'id' });
    settings.replace({ ...settings.current(), snapshotFrequency: minutes(20) });
    await time.tickAsync(minutes(20) - 1);
    assert.deepEqual(calls(), [1, 1, 1]);
    await time.tickAsync(1);
    assert.deepEqual(calls(), [2, 2, 2]);
  });

  describe('that failed', () => {
    beforeEach(() => settings.replace({ ...settings.current(), snapshotFrequency: hours(13) }));

    it('is tried again within minutes, ever later, and not more often than once an hour', async () => {
      collect.A?.rejects(new Error('EIO'));
      await start();
      const at: number[] = [];
      for (let minute = 1; minute <= 240; minute++) {
        const before = collect.A?.callCount;
        await time.tickAsync(minutes(1));
        if (collect.A?.callCount !== before) at.push(minute);
      }
      assert.deepEqual(at, [1, 3, 7, 15, 31, 63, 123, 183]);
      assert.deepEqual([collect.B?.callCount, collect.C?.callCount], [1, 1]);
      assert.equal(logged.length, 1);
    });

    it('is taken once it can be, and then with the rounds', async () => {
      collect.A?.onFirstCall().rejects(new Error('EIO'));
      await start();
      await time.tickAsync(minutes(1));
      assert.deepEqual(calls(), [2, 1, 1]);
      assert.equal(snapshots.lastRun('A')?.problem, undefined);
      await time.tickAsync(hours(13) - minutes(1) - 1);
      assert.deepEqual(calls(), [2, 1, 1]);
      await time.tickAsync(1);
      assert.deepEqual(calls(), [3, 2, 2]);
    });

    it('is not tried again, nor looked at all the time, while it is left out', async () => {
      collect.A?.rejects(new Error('EIO'));
      await start();
      let looks = 0;
      leavesOut = ({ name }) => {
        looks += 1;
        return name === 'A' ? 'paused' : undefined;
      };
      await time.tickAsync(minutes(3));
      assert.deepEqual(calls(), [1, 1, 1]);
      assert.ok(looks < 50, `${looks} looks`);
    });

    it('is not tried again while it is off, and at once when it is on again', async () => {
      collect.A?.rejects(new Error('EIO'));
      await start();
      settings.replace({ ...settings.current(), priorities: { A: 'Off', B: 'High', C: 'Low' } });
      await time.tickAsync(hours(2));
      assert.deepEqual(calls(), [1, 1, 1]);
      settings.replace({ ...settings.current(), priorities: { A: 'Low', B: 'High', C: 'Low' } });
      await time.tickAsync(1);
      assert.deepEqual(calls(), [2, 1, 1]);
    });
  });

  for (const [how, fail] of [
    ['rejects', () => Promise.reject(new Error('no such device'))],
    [
      'throws',
      () => {
        throw new Error('no such device');
      },
    ],
  ] as const) {
    it(`continues with the others when one ${how}, and logs it once`, async () => {
      collect.A?.callsFake(fail);
      await start();
      await time.tickAsync(minutes(10));
      assert.deepEqual(calls(), [2, 2, 2]);
      assert.deepEqual(snapshots.lastRun('A'), { at: new Date('2024-05-01T12:10:00Z'), problem: 'no such device' });
      assert.deepEqual(snapshots.lastRun('C'), { at: new Date('2024-05-01T12:10:00Z'), elements: 1 });
      assert.equal(logged.length, 1);
      assert.ok(queues.envelopes('Low').every(({ Name }) => Name === 'C'));
    });
  }

  it('logs a different failure, and one that recurs after a success', async () => {
    collect.A?.onCall(0).rejects(new Error('one'));
    collect.A?.onCall(1).rejects(new Error('two'));
    collect.A?.onCall(2).resolves([]);
    collect.A?.onCall(3).rejects(new Error('two'));
    await start();
    await time.tickAsync(minutes(30));
    assert.equal(logged.length, 3);
    assert.equal(snapshots.lastRun('A')?.problem, 'two');
  });

  it('gives up on one that is stuck, and forgets its answer', async () => {
    collect.A?.callsFake(async () => {
      await systemClock.sleep(minutes(3));
      return [{ Late: true }];
    });
    await start();
    assert.deepEqual(calls(), [1, 0, 0]);
    await time.tickAsync(minutes(2));
    assert.deepEqual(calls(), [1, 1, 1]);
    assert.match(snapshots.lastRun('A')?.problem ?? '', /took longer than 120 s/);
    await time.tickAsync(minutes(2));
    assert.deepEqual(
      queues.envelopes('Low').map(({ Name }) => Name),
      ['C'],
    );
  });

  it('continues after an internal error, logs it once, and keeps its schedule', async () => {
    changed = () => assert.fail('a defect');
    await start();
    await time.tickAsync(minutes(10) - 1);
    assert.deepEqual(calls(), [1, 1, 1]);
    await time.tickAsync(minutes(10));
    assert.deepEqual(calls(), [2, 2, 2]);
    assert.deepEqual(
      logged.map(({ level, id }) => [level, id]),
      [['error', 'INTERNAL']],
    );
  });

  describe('of which not all can be sent', () => {
    const flood = Array.from({ length: 10_000 }, (_, n) => ({
      Name: `row ${n}`,
      ExtraDetails: { Text: 'x'.repeat(80) },
    }));

    it('sends the first rows, says how many are left out, and is degraded', async () => {
      collect.A?.resolves(flood);
      await start();
      const event = queues.put_.Low.find(({ name }) => name === 'A');
      assert.ok(event !== undefined && event.json.length <= 8192);
      const { Payload: rows } = JSON.parse(event.json);
      assert.deepEqual(rows[0], flood[0]);
      const leftOut = 10_000 - rows.length;
      assert.equal(rows.at(-1).ExtraDetails.OmittedElements, String(leftOut));
      const run = snapshots.lastRun('A');
      assert.equal(run?.source?.state, 'degraded');
      assert.ok(run?.source?.reason?.includes(`${leftOut} of 10000 elements`), run?.source?.reason);
      assert.equal(run?.elements, 10_000);
      assert.equal(snapshots.lastRun('C')?.source, undefined);
    });

    it('uses at most half of the queues’ space', async () => {
      settings = liveSettings({
        snapshotFrequency: minutes(10),
        priorities: { A: 'Low' },
        maxMessageSizeInBytes: 262_144,
        maxLocalCacheSizeInBytes: 16_384,
      });
      collect.A?.resolves(flood);
      await start();
      const event = queues.put_.Low.find(({ name }) => name === 'A');
      assert.ok(event !== undefined && event.json.length <= 8_192, String(event?.json.length));
    });

    it('leaves room for the marks of a clock that is not set', async () => {
      time.setSystemTime(0);
      collect.A?.resolves(flood);
      await start();
      const event = queues.put_.Low.find(({ name }) => name === 'A');
      const rows = JSON.parse(event?.json ?? '').Payload.length;
      assert.ok((event?.json.length ?? 0) + rows * 150 <= 8192);
    });

    it('counts what its source has left out, too', async () => {
      const [a] = collectors;
      assert.ok(a);
      const status = { state: 'degraded', source: 'files', reason: '95000 are not listed', leftOut: 95_000 } as const;
      Object.assign(a, { sourceStatus: () => status, count: () => 3 });
      await start();
      const [event] = queues.envelopes('Low');
      assert.equal(event.Payload.at(-1).ExtraDetails.OmittedElements, '95000');
      assert.deepEqual(snapshots.lastRun('A'), {
        at: new Date('2024-05-01T12:00:00Z'),
        elements: 95_003,
        source: { state: 'degraded', source: 'files', reason: '95000 are not listed' },
      });
    });

    describe('and that may be sent in parts', () => {
      const partsOf = (queue: 'High' | 'Low') => queues.envelopes(queue).filter(({ Name }) => Name === 'A');
      let bytesPerDay: number | undefined;

      beforeEach(() => {
        bytesPerDay = undefined;
        const [a] = collectors;
        assert.ok(a);
        Object.assign(a, { inParts: true });
      });

      const startWithDays = () => start(bytesPerDay === undefined ? {} : { bytesPerDay: () => bytesPerDay ?? 0 });

      it('sends every row, in order, in events of one snapshot that each fit into a message', async () => {
        collect.A?.resolves(flood.slice(0, 500));
        await startWithDays();
        const parts = partsOf('Low');
        assert.ok(parts.length > 5);
        const labels = parts.map(({ Payload: [first] }) => first.ExtraDetails);
        assert.deepEqual(
          labels.map(({ Part, Parts }) => [Part, Parts]),
          parts.map((_, index) => [String(index + 1), String(parts.length)]),
        );
        assert.equal(new Set(labels.map(({ SnapshotId }) => SnapshotId)).size, 1);
        assert.equal(new Set(parts.map(({ Id }) => Id)).size, parts.length);
        assert.equal(new Set(parts.map(({ TimestampUTC }) => TimestampUTC)).size, 1);
        const rows = parts.flatMap(({ Payload: payload }) => payload);
        for (const { ExtraDetails } of rows)
          for (const name of ['Part', 'Parts', 'SnapshotId']) delete ExtraDetails[name];
        assert.deepEqual(rows, flood.slice(0, 500));
        for (const { json } of queues.put_.Low) assert.ok(Buffer.byteLength(json) <= 8192 - 1_000);
        assert.deepEqual(snapshots.lastRun('A'), { at: new Date('2024-05-01T12:00:00Z'), elements: 500 });
      });

      it('gives each snapshot an id of its own', async () => {
        collect.A?.resolves(flood.slice(0, 100));
        await startWithDays();
        await time.tickAsync(minutes(10));
        const ids = partsOf('Low').flatMap(({ Payload: [first] }) => first.ExtraDetails.SnapshotId);
        assert.equal(new Set(ids).size, 2);
      });

      it('puts all parts at once, so that nothing comes between them', async () => {
        collect.A?.resolves(flood.slice(0, 500));
        const puts = sinon.spy(queues, 'put');
        await startWithDays();
        assert.deepEqual(
          puts.args.filter(([queue]) => queue === 'Low').map(([, events]) => events.length > 5),
          [true, false],
        );
      });

      it('sends no more than the most parts, counts the rest, and is degraded', async () => {
        collect.A?.resolves(flood);
        await startWithDays();
        const parts = partsOf('Low');
        assert.equal(parts.length, 32);
        const rows = parts.reduce((all, { Payload: payload }) => all + payload.length, 0);
        assert.equal(parts.at(-1)?.Payload.at(-1).ExtraDetails.OmittedElements, String(10_000 - rows));
        const omitted = parts.flatMap(({ Payload: payload }) =>
          payload.filter(
            ({ ExtraDetails }: Payload) => (ExtraDetails as { OmittedElements?: string })?.OmittedElements,
          ),
        );
        assert.equal(omitted.length, 1);
        const run = snapshots.lastRun('A');
        assert.equal(run?.elements, 10_000);
        assert.equal(run?.source?.state, 'degraded');
        assert.match(
          run?.source?.reason ?? '',
          new RegExp(`^${10_000 - rows} of 10000 elements are not sent: they do not fit into 32 messages\\.`),
        );
      });

      it('takes a quarter of the units that its priority may use in a day, at most', async () => {
        collect.A?.resolves(flood);
        bytesPerDay = 12 * 8_192;
        await startWithDays();
        assert.equal(partsOf('Low').length, 3);
      });

      it('does not label a snapshot that fits into one message', async () => {
        collect.A?.resolves(flood.slice(0, 2));
        await startWithDays();
        assert.deepEqual(
          partsOf('Low').map(({ Payload: payload }) => payload),
          [flood.slice(0, 2)],
        );
      });

      it('has failed when the queues take only some of the parts', async () => {
        collect.A?.resolves(flood.slice(0, 500));
        sinon.stub(queues, 'put').returns(2);
        await startWithDays();
        assert.match(snapshots.lastRun('A')?.problem ?? '', /no space for the whole snapshot/);
      });
    });

    it('shortens at once a row that no message can ever hold', async () => {
      collect.A?.resolves([{ Name: 'x'.repeat(17 * 1024 * 1024) }]);
      await start();
      const event = queues.put_.Low.find(({ name }) => name === 'A');
      assert.ok(event !== undefined && event.json.length <= 8192);
      assert.equal(JSON.parse(event.json).Payload[0].ExtraDetails.ShortenedField, 'Name');
    });

    it('has failed when the queues do not take it', async () => {
      queues.full = true;
      await start();
      assert.match(snapshots.lastRun('A')?.problem ?? '', /no space/);
    });
  });

  it('has no last run before the first', async () => {
    await start();
    assert.equal(snapshots.lastRun('Z'), undefined);
  });

  it('stops in the middle of a wait, at once', async () => {
    await start();
    await snapshots.stop();
    await time.tickAsync(days(1));
    assert.deepEqual(calls(), [1, 1, 1]);
  });

  it('stops in the middle of a round, aborts the collector, and starts no other', async () => {
    let signal: AbortSignal | undefined;
    collect.A?.callsFake(async (_from, given) => {
      signal = given;
      await systemClock.sleep(minutes(1), given);
      return [];
    });
    await start();
    await snapshots.stop();
    assert.equal(signal?.aborted, true);
    assert.deepEqual(calls(), [1, 0, 0]);
    assert.deepEqual(queues.put_, { High: [], Low: [] });
  });

  it('does not wait long for a collector that is stuck when it stops', async () => {
    collect.A?.returns(new Promise(() => {}));
    await start();
    let stopped = false;
    void snapshots.stop().then(() => {
      stopped = true;
    });
    await time.tickAsync(seconds(2));
    assert.equal(stopped, true);
    await time.tickAsync(minutes(3));
    assert.deepEqual(calls(), [1, 0, 0]);
  });
});
