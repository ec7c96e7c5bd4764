import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sinon from 'sinon';
import { ChangeNotices } from '../../../src/agent/pipeline/notices.ts';
import { EventQueues } from '../../../src/agent/pipeline/queue.ts';
import type { StateFiles } from '../../../src/agent/state/state-files.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { days, minutes, seconds } from '../../../src/core/base/duration.ts';
import type { LogLine } from '../../../src/core/base/log.ts';
import type { Settings } from '../../../src/core/contract/settings.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { properties } from '../config/published.ts';
import { immediateStateFiles } from '../state/immediate-state-files.ts';
import { quietLog } from './memory-queues.ts';
import { synchronousFiles } from './synchronous-files.ts';

describe('ChangeNotices', () => {
  let time: sinon.SinonFakeTimers;
  let reportedLines: LogLine[];
  let notices: ChangeNotices;
  /** Positions of the events in the queue. */
  let queued: Set<number>;
  let isFull: boolean;
  let file: string;
  let lives = 0;

  /** An agent's, which reads what an earlier one left. */
  const start = async (files?: StateFiles) => {
    lives += 1;
    const life = lives;
    notices = new ChangeNotices({
      files: immediateStateFiles,
      announce: (line) => {
        if (isFull || life < lives) return undefined; // the earlier ones were killed
        queued.add(reportedLines.push(line) - 1);
        return reportedLines.length - 1;
      },
      isWaiting: (position) => queued.has(position),
      file,
      ...(files === undefined ? {} : { files }),
      clock: systemClock,
      log: quietLog(),
    });
    await notices.start();
  };
  const deliver = (...positions: number[]) => {
    for (const position of positions) queued.delete(position);
    notices.delivered(new Set(positions));
  };
  const names = () => reportedLines.map(({ details }) => details?.Names);

  beforeEach(async () => {
    time = sinon.useFakeTimers();
    reportedLines = [];
    queued = new Set();
    isFull = false;
    file = join(temporaryFolder(), 'change-notices.json');
    await start();
  });
  afterEach(async () => {
    await notices.stop();
    time.restore();
  });

  let version = 0;
  const change = (changes: Record<string, string>) => {
    version += 1;
    notices.accept({ time: new Date(), desiredVersion: version, changes });
  };

  it('each change is reported separately, with its names and new values', () => {
    version = 6;
    change({ eventPriorityLogin: 'High to Off', snapshotFrequency: 'PT13H to P365D' });
    assert.deepEqual(reportedLines, [
      {
        time: new Date(),
        level: 'info',
        message: 'Configuration changed',
        details: {
          Names: 'eventPriorityLogin;snapshotFrequency',
          Changes: 'eventPriorityLogin: High to Off; snapshotFrequency: PT13H to P365D',
          DesiredVersion: '7',
        },
      },
    ]);
  });

  it('notices of a twin that flips back and forth are bounded, and count every change', async () => {
    await start({ replace: () => {}, remove: () => {}, settled: async () => {} }); // hours of syncs would take minutes
    for (let second = 0; second < 3 * 3_600; second += 1) {
      change({ eventPriorityLogin: second % 2 === 0 ? 'High to Off' : 'Off to High' });
      await time.tickAsync(seconds(1));
      deliver(...queued);
    }
    await time.tickAsync(minutes(5));
    assert.ok(reportedLines.length >= 20 + 35 && reportedLines.length <= 20 + 40, String(reportedLines.length));
    const counted = reportedLines.reduce((all, { details }) => all + Number(details?.Count ?? 1), 0);
    assert.equal(counted, 3 * 3_600);
  });

  it('a change after a quiet period is reported immediately', async () => {
    for (let n = 0; n < 30; n += 1) change({ [`name${n}`]: 'a to b' });
    assert.equal(reportedLines.length, 20);
    deliver(...queued);
    await time.tickAsync(minutes(5));
    assert.equal(reportedLines.length, 21);
    assert.equal(reportedLines[20]?.details?.Names?.split(';').length, 10);
    await time.tickAsync(days(1));
    change({ x: 'a to b' });
    assert.equal(reportedLines.length, 22);
  });

  it('remaining changes are reported at exit', async () => {
    for (let n = 0; n < 25; n += 1) change({ x: 'a to b' });
    await notices.stop();
    assert.equal(reportedLines.length, 21);
    assert.equal(reportedLines[20]?.details?.Count, '5');
  });

  it('notices do not grow with the size of the change', () => {
    change(Object.fromEntries(properties.map(({ name }) => [name, `${'"'.repeat(64)} to ${'"'.repeat(64)}`])));
    const [{ details } = {}] = reportedLines;
    assert.equal(details?.Names, properties.map(({ name }) => name).join(';'));
    assert.match(details?.Changes ?? '', /^highPriorityMessageFrequency: "+ to "+; .*; …$/);
    // The largest notice that fits the smallest cache a twin can set.
    assert.ok(JSON.stringify(reportedLines).length < 6_000, String(JSON.stringify(reportedLines).length));
  });

  describe('that the hub has not acknowledged', () => {
    it('lost notices are repeated together, and not while another one waits', async () => {
      change({ a: '1 to 2' });
      change({ b: '1 to 2' });
      change({ c: '1 to 2' });
      queued.delete(0);
      queued.delete(1); // pushed out
      await time.tickAsync(minutes(10));
      assert.equal(reportedLines.length, 3);
      deliver(2);
      await time.tickAsync(0);
      assert.deepEqual(names(), ['a', 'b', 'c', 'a;b']);
      assert.equal(reportedLines[3]?.details?.Count, '2');
      queued.clear(); // again
      await time.tickAsync(minutes(1));
      assert.deepEqual(names().slice(4), ['a;b']);
      deliver(4);
      await time.tickAsync(days(1));
      assert.equal(reportedLines.length, 5);
      assert.ok(!existsSync(file));
    });

    it('lost notices are reported once the queue has space', async () => {
      isFull = true;
      change({ a: '1 to 2' });
      change({ b: '1 to 2' });
      await time.tickAsync(minutes(3));
      isFull = false;
      await time.tickAsync(minutes(1));
      assert.deepEqual(names(), ['a;b']);
    });

    it('notices survive kill -9: lost and unreported ones are reported, waiting ones are not repeated', async () => {
      for (let n = 0; n < 22; n += 1) change({ [`name${n}`]: '1 to 2' });
      assert.equal(reportedLines.length, 20);
      await start();
      await time.tickAsync(minutes(2));
      assert.deepEqual(names().slice(20), [], 'as many wait as may');
      deliver(...queued);
      await time.tickAsync(0);
      assert.deepEqual(names().slice(20), ['name20;name21']);
      await start();
      queued.clear();
      await time.tickAsync(minutes(1));
      assert.deepEqual(names().slice(21), ['name20;name21']);
    });

    it('notices are kept over many stops, even if more of them wait than allowed', async () => {
      for (let n = 0; n < 21; n += 1) change({ [`name${n}`]: '1 to 2' });
      for (let n = 21; n < 25; n += 1) {
        await notices.stop();
        await start();
        change({ [`name${n}`]: '1 to 2' });
      }
      await notices.stop();
      await start();
      deliver(...queued);
      await time.tickAsync(minutes(1));
      const all = names().flatMap((text) => text?.split(';') ?? []);
      assert.deepEqual(
        all,
        Array.from({ length: 25 }, (_, n) => `name${n}`),
      );
    });

    it('come through the smallest cache that a twin can ask for, one after the other', async () => {
      const settings = { current: () => ({ maxLocalCacheSizeInBytes: 8_192 }) as Settings, onChange: () => {} };
      const queues = new EventQueues({
        files: synchronousFiles,
        directory: temporaryFolder(),
        settings,
        clock: systemClock,
        log: quietLog(),
      });
      await queues.start();
      const come: string[] = [];
      notices = new ChangeNotices({
        files: immediateStateFiles,
        announce: ({ details }) => {
          const { next } = queues.positions('High');
          const json = JSON.stringify({ details, filling: 'f'.repeat(500) });
          return queues.put('High', [{ name: 'Diagnostic', elements: 1, occurrences: 1, json }]) > 0 ? next : undefined;
        },
        isWaiting: (position) => queues.isWaiting('High', position),
        file,
        clock: systemClock,
        log: quietLog(),
      });
      await notices.start();
      const all = (value: string) =>
        Object.fromEntries(properties.map(({ name }) => [name, `${value.repeat(64)} to x`]));
      change({ ...all('"'), first: 'Low to Off' });
      change({ ...all('\\'), second: '1 to 2' });
      change({ ...all('"'), third: '1 to 2' });
      assert.ok((queues.account('High').totals.dropped.cacheFull ?? 0) > 0, 'nothing was pushed out');
      for (let round = 0; round < 5; round += 1) {
        const taken = queues.take('High', 100_000, true);
        come.push(...taken.map(({ json }) => json));
        const positions = new Set(taken.map(({ position }) => position));
        if (taken.length > 0) queues.settle('High', 'delivered', positions);
        notices.delivered(positions);
        await time.tickAsync(minutes(1));
      }
      await queues.stop();
      for (const name of ['first', 'second', 'third']) assert.match(come.join('\n'), new RegExp(`;${name}[";]`), name);
      assert.equal(queues.waiting('High').events, 0);
    });

    it('a file of notices is read within its limits, whatever it contains', async () => {
      for (const text of ['', '{', '[]', '{"waiting":[{}]}', `{"waiting":[${' '.repeat(300_000)}]}`]) {
        writeFileSync(file, text);
        await start();
        await time.tickAsync(minutes(1));
      }
      assert.equal(reportedLines.length, 0);
      change({ a: '1 to 2' });
      assert.deepEqual(names(), ['a']);
    });
  });
});
