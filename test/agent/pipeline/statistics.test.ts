import assert from 'node:assert/strict';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sinon from 'sinon';
import { Statistics } from '../../../src/agent/pipeline/statistics.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import type { Totals } from '../../../src/core/base/counters.ts';
import { minutes } from '../../../src/core/base/duration.ts';
import type { LogLine } from '../../../src/core/base/log.ts';
import type { QueueName } from '../../../src/core/contract/event.ts';
import type { MessageStatistics } from '../../../src/core/contract/sources.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { immediateStateFiles } from '../state/immediate-state-files.ts';
import { quietLog } from './memory-queues.ts';

describe('Statistics', () => {
  let folder: string;
  let file: string;
  let totals: Record<QueueName, Totals>;
  let sent: MessageStatistics;
  let logged: LogLine[];

  const books = (collected: number, dropped: Totals['dropped'] = {}): Totals => ({
    collected,
    delivered: 0,
    aggregatedAway: 0,
    dropped,
  });

  beforeEach(() => {
    folder = temporaryFolder();
    file = join(folder, 'statistics.json');
    totals = { High: books(0), Low: books(0) };
    sent = { sent: 0, under4KB: 0, failed: 0 };
    logged = [];
  });

  const create = () =>
    new Statistics({
      files: immediateStateFiles,
      file,
      totals: (queue) => totals[queue],
      sent: () => sent,
      log: quietLog(logged),
    });
  /** A new run: the queues' books live on, the publisher counts from zero. */
  const restart = () => {
    sent = { sent: 0, under4KB: 0, failed: 0 };
    return create();
  };

  it('reports both queues, zero or not', async () => {
    assert.deepEqual(await create().source.queues(), [
      { queue: 'High', collected: 0, dropped: 0, droppedBy: {} },
      { queue: 'Low', collected: 0, dropped: 0, droppedBy: {} },
    ]);
  });

  it('reports the counts since the last report', async () => {
    const { source } = create();
    totals.Low = books(100, { kernel: 4, cacheFull: 3 });
    assert.deepEqual((await source.queues())[1], {
      queue: 'Low',
      collected: 100,
      dropped: 7,
      droppedBy: { kernel: 4, cacheFull: 3 },
    });
    totals.Low = books(130, { kernel: 4, cacheFull: 5, refused: 1 });
    assert.deepEqual((await source.queues())[1], {
      queue: 'Low',
      collected: 30,
      dropped: 3,
      droppedBy: { cacheFull: 2, refused: 1 },
    });
    assert.deepEqual((await source.queues())[1], { queue: 'Low', collected: 0, dropped: 0, droppedBy: {} });
  });

  it('continues after a restart, regardless of how the agent ended', async () => {
    totals.High = books(10, { kernel: 1 });
    await create().source.queues();
    totals.High = books(15, { kernel: 3 });
    assert.deepEqual((await restart().source.queues())[0], {
      queue: 'High',
      collected: 5,
      dropped: 2,
      droppedBy: { kernel: 2 },
    });
  });

  it('reports messages since the last report', async () => {
    const { source } = create();
    sent = { sent: 5, under4KB: 2, failed: 1 };
    assert.deepEqual(await source.messages(), { sent: 5, under4KB: 2, failed: 1 });
    sent = { sent: 7, under4KB: 3, failed: 1 };
    assert.deepEqual(await source.messages(), { sent: 2, under4KB: 1, failed: 0 });
    assert.deepEqual(await source.messages(), { sent: 0, under4KB: 0, failed: 0 });
  });

  it('keeps at the end what no report has counted, and no more', async () => {
    const first = create();
    sent = { sent: 5, under4KB: 2, failed: 1 };
    await first.source.messages();
    sent = { sent: 8, under4KB: 4, failed: 2 };
    first.save();
    first.save();
    const second = restart();
    second.save();
    sent = { sent: 1, under4KB: 1, failed: 0 };
    assert.deepEqual(await second.source.messages(), { sent: 4, under4KB: 3, failed: 1 });
    assert.deepEqual(await restart().source.messages(), { sent: 0, under4KB: 0, failed: 0 });
  });

  describe('its keeper', () => {
    let time: sinon.SinonFakeTimers;

    beforeEach(() => {
      time = sinon.useFakeTimers();
    });
    afterEach(() => time.restore());

    it('saves once a minute what could not be saved before', async () => {
      const keeper = create().keeper(systemClock);
      await keeper.start();
      sent = { sent: 5, under4KB: 2, failed: 1 };
      await time.tickAsync(minutes(1));
      sent = { sent: 6, under4KB: 2, failed: 1 };
      await time.tickAsync(minutes(1) - 1);
      assert.deepEqual(await restart().source.messages(), { sent: 5, under4KB: 2, failed: 1 });
      await keeper.stop();
    });

    it('writes only when something was sent, or failed', async () => {
      const keeper = create().keeper(systemClock);
      await keeper.start();
      await time.tickAsync(minutes(60));
      assert.equal(existsSync(file), false);
      sent = { sent: 0, under4KB: 0, failed: 1 };
      await time.tickAsync(minutes(1));
      rmSync(file);
      await time.tickAsync(minutes(60));
      assert.equal(existsSync(file), false);
      await keeper.stop();
    });

    it('saves the last counts on stop, even if it was never started', async () => {
      for (const started of [true, false]) {
        rmSync(file, { force: true });
        sent = { sent: 0, under4KB: 0, failed: 0 };
        const keeper = create().keeper(systemClock);
        if (started) await keeper.start();
        sent = { sent: 3, under4KB: 1, failed: 0 };
        await keeper.stop();
        await keeper.stop();
        await time.tickAsync(minutes(5));
        assert.deepEqual(await restart().source.messages(), { sent: 3, under4KB: 1, failed: 0 });
      }
    });

    it('retries while its file cannot be written, and logs it once', async () => {
      mkdirSync(file);
      const keeper = create().keeper(systemClock);
      await keeper.start();
      sent = { sent: 5, under4KB: 2, failed: 1 };
      await time.tickAsync(minutes(10));
      assert.deepEqual(
        logged.map(({ level }) => level),
        ['warn'],
      );
      rmSync(file, { recursive: true });
      await time.tickAsync(minutes(1));
      assert.deepEqual(await restart().source.messages(), { sent: 5, under4KB: 2, failed: 1 });
      await keeper.stop();
    });
  });

  it('never reports less than nothing, after the queues were lost', async () => {
    totals.Low = books(100, { kernel: 9 });
    const { source } = create();
    await source.queues();
    totals.Low = books(3, { kernel: 1 });
    assert.deepEqual((await source.queues())[1], { queue: 'Low', collected: 0, dropped: 0, droppedBy: {} });
    totals.Low = books(5, { kernel: 2 });
    assert.deepEqual((await source.queues())[1], { queue: 'Low', collected: 2, dropped: 1, droppedBy: { kernel: 1 } });
  });

  for (const damaged of [
    '',
    '{',
    'null',
    '7',
    '"text"',
    '[]',
    '{"queues":null,"messages":null}',
    '{"queues":{"High":7,"Low":null},"messages":"x"}',
    '{"queues":{"Low":{"collected":-5,"droppedBy":{"kernel":"9"}}},"messages":{"sent":1e400,"failed":-1}}',
    '{"queues":{"Low":{"collected":0.5,"droppedBy":[7]}},"messages":{"sent":[]}}',
  ]) {
    it(`counts from the beginning when its file holds ${JSON.stringify(damaged)}`, async () => {
      writeFileSync(file, damaged);
      totals.Low = books(10, { kernel: 2 });
      const { source } = create();
      assert.deepEqual((await source.queues())[1], {
        queue: 'Low',
        collected: 10,
        dropped: 2,
        droppedBy: { kernel: 2 },
      });
      assert.deepEqual(await source.messages(), { sent: 0, under4KB: 0, failed: 0 });
    });
  }

  it('reports even if its file cannot be written, and logs it', async () => {
    mkdirSync(file);
    totals.Low = books(10);
    const { source } = create();
    assert.equal((await source.queues())[1]?.collected, 10);
    assert.equal((await source.queues())[1]?.collected, 0);
    assert.ok(logged.length > 0 && logged.every(({ level }) => level === 'warn'));
  });
});
