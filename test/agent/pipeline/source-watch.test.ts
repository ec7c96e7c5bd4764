import assert from 'node:assert/strict';
import sinon from 'sinon';
import * as v from 'valibot';
import { processCreate } from '../../../src/agent/collectors/process-create.ts';
import { Snapshots } from '../../../src/agent/pipeline/snapshots.ts';
import { LIST_EVERY, LOOK_EVERY, SourceWatch } from '../../../src/agent/pipeline/source-watch.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { milliseconds, minutes, seconds } from '../../../src/core/base/duration.ts';
import type { LogLine } from '../../../src/core/base/log.ts';
import { type PeriodicCollector, periodic } from '../../../src/core/contract/collector.ts';
import type { Snapshot } from '../../../src/core/contract/consumers.ts';
import type { Sources } from '../../../src/core/contract/sources.ts';
import { DECLARED } from '../../harness/declared.ts';
import { liveSettings, MemoryQueues, quietLog } from './memory-queues.ts';

const declared = { ...DECLARED, payload: v.record(v.string(), v.unknown()) };

/** A change is shown within this time: a look, and the moment that it waits. */
const SOON = milliseconds(LOOK_EVERY + 2_000);

describe('SourceWatch', () => {
  let time: sinon.SinonFakeTimers;
  let trace: string | undefined;
  let looks: number;
  let row: string;
  let failure: Error | undefined;
  let takes: number;
  /** CPU time, in milliseconds. */
  let used: number;
  let wanted: boolean;
  let shown: Snapshot[];
  /** Snapshots that the second consumer received. */
  let wantedToo: boolean;
  let shownToo: Snapshot[];
  let failures: [event: string, problem: string][];
  let logged: LogLine[];
  let queues: MemoryQueues;
  let snapshots: Snapshots;
  let watch: SourceWatch;
  let listed: PeriodicCollector['collect'];

  beforeEach(async () => {
    time = sinon.useFakeTimers({ now: new Date('2024-05-01T12:00:00Z') });
    used = 0;
    sinon.stub(process, 'cpuUsage').callsFake(() => ({ user: used * 1_000, system: 0 }));
    trace = 'a';
    looks = 0;
    row = 'one';
    failure = undefined;
    takes = 0;
    wanted = true;
    shown = [];
    wantedToo = false;
    shownToo = [];
    failures = [];
    logged = [];
    queues = new MemoryQueues();
    listed = async () => {
      takes += 1;
      if (failure !== undefined) throw failure;
      return [{ Name: row }];
    };
    const collectors = [
      periodic({
        ...declared,
        name: 'A',
        collect: (...from) => listed(...from),
        async trace() {
          looks += 1;
          return trace;
        },
        sourceStatus: () => ({ state: 'degraded', leftOut: 2 }),
      }),
      periodic({ ...declared, name: 'Untraced', collect: async () => assert.fail('is not watched') }),
      processCreate,
    ];
    const sources = {} as Sources;
    const log = quietLog(logged);
    const settings = liveSettings({ priorities: { A: 'Off', Untraced: 'Off' } });
    snapshots = new Snapshots({ collectors, sources, settings, queues, clock: systemClock, log, changed: () => {} });
    const consumers = [
      { wants: () => wanted, accept: (snapshot: Snapshot) => void shown.push(snapshot) },
      {
        wants: () => wantedToo,
        accept: (snapshot: Snapshot) => void shownToo.push(snapshot),
        failed: (...failure: [string, string]) => void failures.push(failure),
      },
    ];
    watch = new SourceWatch({ collectors, sources, snapshots, consumers, clock: systemClock, log });
    await snapshots.start();
    await watch.start();
  });
  afterEach(async () => {
    const stopped = Promise.all([watch.stop(), snapshots.stop()]);
    await time.tickAsync(seconds(4));
    await stopped;
    time.restore();
    sinon.restore();
  });
  const rows = () => shown.map((snapshot) => snapshot.rows[0]?.Name);

  it('shows a snapshot when the trace differs, and only then, whatever the priority is', async () => {
    await time.tickAsync(SOON);
    assert.deepEqual(rows(), ['one']);
    await time.tickAsync(minutes(30));
    assert.equal(takes, 1);
    trace = 'b';
    row = 'two';
    await time.tickAsync(SOON);
    assert.deepEqual(rows(), ['one', 'two']);
    assert.deepEqual(queues.envelopes('Low'), []);
    const { at, ...snapshot } = shown[1] ?? assert.fail();
    assert.deepEqual(snapshot, { event: 'A', rows: [{ Name: 'two' }], leftOut: 2, source: { state: 'degraded' } });
    assert.ok(at.getTime() > Date.parse('2024-05-01T12:30:00Z'));
    assert.equal(snapshots.lastRun('A'), undefined);
  });

  it('waits until nothing has changed for a moment, but not for long', async () => {
    await time.tickAsync(SOON);
    trace = 'open';
    row = 'open';
    for (const before = looks; looks === before; ) await time.tickAsync(100);
    trace = 'closed';
    row = 'closed';
    await time.tickAsync(SOON);
    assert.deepEqual(rows(), ['one', 'closed']);

    const changing = setInterval(() => {
      trace = String(Math.random());
    }, 100);
    await time.tickAsync(SOON);
    clearInterval(changing);
    assert.equal(takes, 3);
  });

  it('finds what changes while a source is listed', async () => {
    await time.tickAsync(SOON);
    trace = 'b';
    row = 'early';
    const list = listed;
    listed = async (...from) => {
      const before = await list(...from);
      trace = 'c';
      row = 'late';
      listed = list;
      return before;
    };
    await time.tickAsync(2 * SOON);
    assert.deepEqual(rows(), ['one', 'early', 'late']);
  });

  it('lists a source that cannot tell every five minutes', async () => {
    trace = undefined;
    await time.tickAsync(SOON);
    assert.equal(takes, 1);
    await time.tickAsync(LIST_EVERY - SOON);
    assert.equal(takes, 1);
    await time.tickAsync(SOON);
    assert.equal(takes, 2);
  });

  it('takes a fiftieth of a processor at most, and lists no less often than every five minutes', async () => {
    const list = listed;
    const changing = setInterval(() => {
      trace = String(Math.random());
    }, 1_000);
    for (const [takesTime, every] of [
      [seconds(1), 50],
      [seconds(60), 300],
    ] as const) {
      listed = async (...from) => {
        used += takesTime;
        return list(...from);
      };
      await time.tickAsync(minutes(10));
      const before = takes;
      await time.tickAsync(minutes(60));
      const most = 3_600 / every;
      assert.ok(takes - before <= most && takes - before > most / 2, `${takes - before} of ${most}`);
    }
    clearInterval(changing);
  });

  it('lists as often on a machine on which everything takes long', async () => {
    const list = listed;
    listed = async (...from) => {
      await systemClock.sleep(seconds(20));
      return list(...from);
    };
    await time.tickAsync(minutes(1));
    trace = 'b';
    await time.tickAsync(SOON + seconds(20));
    assert.equal(takes, 2);
  });

  it('logs once that a source cannot be listed, and retries', async () => {
    failure = new Error('EACCES');
    await time.tickAsync(minutes(16));
    assert.equal(logged.length, 1, JSON.stringify(logged));
    assert.match(JSON.stringify(logged), /Could not take a snapshot.*EACCES/);
    assert.equal(takes, 4);
    failure = undefined;
    await time.tickAsync(LIST_EVERY);
    assert.deepEqual(rows(), ['one']);
  });

  it('polls only requested sources, and restarts polling on request', async () => {
    await time.tickAsync(SOON);
    wanted = false;
    const before = looks;
    await time.tickAsync(minutes(20));
    assert.equal(looks, before);
    wanted = true;
    await time.tickAsync(SOON);
    assert.deepEqual(rows(), ['one', 'one']);
  });

  it('shows one listing to all consumers, and lists again for a consumer that requests it later', async () => {
    await time.tickAsync(SOON);
    wantedToo = true;
    await time.tickAsync(SOON);
    assert.deepEqual([takes, shownToo.length], [2, 1]);
    trace = 'b';
    await time.tickAsync(SOON);
    assert.deepEqual([takes, shownToo.length], [3, 2]);
    wantedToo = false;
    await time.tickAsync(SOON);
    wantedToo = true;
    await time.tickAsync(SOON);
    assert.deepEqual([takes, shownToo.length], [4, 3]);
    assert.equal(shownToo[2], shown[3]);
  });

  it('reports a failed listing to consumers that request it', async () => {
    failure = new Error('EACCES');
    await time.tickAsync(SOON);
    assert.deepEqual(failures, []);
    await time.tickAsync(LIST_EVERY);
    wantedToo = true;
    await time.tickAsync(LIST_EVERY);
    assert.deepEqual(failures, [['A', 'EACCES']]);
  });

  it('waits for the snapshots that are being taken', async () => {
    let finish = () => {};
    listed = () => new Promise((resolve) => (finish = () => resolve([])));
    const first = snapshots.showTo({ accept: () => {} }, periodic({ ...declared, name: 'B', collect: listed }));
    await time.tickAsync(SOON);
    assert.deepEqual(shown, []);
    listed = async () => [{ Name: 'after' }];
    finish();
    await first;
    await time.tickAsync(0);
    assert.deepEqual(rows(), ['after']);
  });

  it('stops during a listing, without a word', async () => {
    listed = () => new Promise(() => {});
    await time.tickAsync(SOON);
    const stopped = watch.stop();
    await time.tickAsync(seconds(2));
    await stopped;
    await snapshots.stop();
    await time.tickAsync(minutes(3));
    assert.deepEqual(logged, []);
  });
});
