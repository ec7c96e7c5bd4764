import assert from 'node:assert/strict';
import { join } from 'node:path';
import sinon from 'sinon';
import { BackgroundFiles } from '../../../src/agent/pipeline/background-files.ts';
import { EventQueues } from '../../../src/agent/pipeline/queue.ts';
import type { StoreFiles } from '../../../src/agent/pipeline/store-files.ts';
import { BackgroundWriter } from '../../../src/agent/state/background-writer.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { milliseconds, minutes, seconds } from '../../../src/core/base/duration.ts';
import { createLog } from '../../../src/core/base/log.ts';
import { nextTurn } from '../../../src/core/base/waiting.ts';
import { WatchedClock } from '../../../src/core/base/watched-clock.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { quietLog } from './memory-queues.ts';
import { assertClosed, event, events, testSettings } from './queue-fixture.ts';
import { synchronousFiles } from './synchronous-files.ts';

const MAX_BYTES = 64 * 1024;
const CACHE = 32 * 1024 * 1024;

describe('EventQueues on a disk that hangs', () => {
  let folder: string;
  let writer: BackgroundWriter;
  let files: BackgroundFiles;
  let queues: EventQueues;
  let logged: () => void;
  let resume: () => void;

  beforeEach(() => {
    folder = temporaryFolder();
    writer = new BackgroundWriter({ clock: systemClock, maxBytes: MAX_BYTES });
    files = new BackgroundFiles(writer);
    logged = () => {};
    resume = () => {};
    const log = createLog({ level: 'error', destination: { write: () => logged() } });
    queues = new EventQueues({
      directory: join(folder, 'queues'),
      settings: testSettings(CACHE),
      clock: systemClock,
      log,
      files,
      memoryBytes: MAX_BYTES,
    });
  });
  afterEach(async () => {
    resume();
    await queues.stop();
    await writer.settle(seconds(5));
  });

  const hang = () => writer.add({ bytes: 0, run: () => new Promise((resolve) => (resume = resolve)) });

  it('give no position twice, though the log line about it becomes an event', async () => {
    await queues.start();
    await files.settled();
    hang();
    let lines = 0;
    logged = () => {
      lines += 1;
      queues.put('Low', [event(10)]);
    };
    for (let count = 0; count < 100; count += 1) {
      queues.put('Low', events(1, 1_000));
      if (count % 10 === 0) await nextTurn();
    }
    assert.equal(lines, 1);
    const positions = queues.take('Low', CACHE, true).map(({ position }) => position);
    assert.ok(positions.length > 60, `${positions.length}`);
    assert.equal(new Set(positions).size, positions.length);
    queues.settle('Low', 'kept');
    assertClosed(queues);
  });

  it('count what neither the disk nor memory takes', async () => {
    await queues.start();
    await files.settled();
    hang();
    for (let count = 0; count < 400; count += 1) {
      queues.put('Low', [event(1_000)]);
      if (count % 10 === 0) await nextTurn();
    }
    const { totals } = queues.account('Low');
    assertClosed(queues);
    assert.ok((totals.dropped.cacheFull ?? 0) > 100, JSON.stringify(totals));
    assert.ok(totals.queued > 60, JSON.stringify(totals));
    resume();
    await writer.settle(seconds(5));
    await queues.stop();
    assert.equal(queues.account('Low').totals.collected, 400);
    assertClosed(queues);
  });
});

describe('EventQueues whose files are never synced', () => {
  let time: sinon.SinonFakeTimers;
  let folder: string;
  let clock: WatchedClock;
  let queues: EventQueues;
  let syncs: (() => void)[];
  let isSettled: boolean;

  beforeEach(() => {
    time = sinon.useFakeTimers();
    folder = temporaryFolder();
    clock = new WatchedClock(systemClock);
    syncs = [];
    isSettled = true;
    const never = () => new Promise<void>((resolve) => syncs.push(resolve));
    const files: StoreFiles = {
      ...synchronousFiles,
      create(path) {
        const file = synchronousFiles.create(path);
        return {
          append: (bytes) => file.append(bytes),
          truncate: (size) => file.truncate(size),
          sync: never,
          close: () => file.close(),
        };
      },
      sync: never,
      settled: () => (isSettled ? Promise.resolve() : new Promise<void>(() => {})),
    };
    const directory = join(folder, 'queues');
    queues = new EventQueues({ directory, settings: testSettings(CACHE), clock, log: quietLog(), files });
  });
  afterEach(() => {
    time.restore();
  });

  const within = async (limit: number, work: Promise<void>) => {
    let isDone = false;
    void work.then(() => {
      isDone = true;
    });
    await time.tickAsync(limit);
    return isDone;
  };

  it('the queues start, continue and stop in time', async () => {
    isSettled = false;
    assert.ok(await within(seconds(5), queues.start()), 'the start has not ended');
    queues.put('High', events(3));
    await time.tickAsync(seconds(2));
    assert.ok(syncs.length > 0, 'nothing is being synced');
    for (let hung = 0; hung < 20; hung += 1) {
      await time.tickAsync(minutes(1));
      const stands = milliseconds(clock.monotonic() - clock.lastMoved());
      assert.ok(stands < seconds(10), `the loop has stood still for ${stands} ms`);
      assert.equal(queues.put('Low', events(2)), 2);
    }
    assertClosed(queues);
    assert.ok(await within(seconds(5), queues.stop()), 'the stop has not ended');
    assert.equal(queues.account('Low').totals.queued, 40);
  });

  it('each queue has one sync in flight, and nothing counts as lasting before it has ended', async () => {
    await queues.start();
    queues.put('High', events(3));
    queues.put('Low', events(5));
    await time.tickAsync(minutes(1));
    assert.equal(syncs.length, 2);
    assert.deepEqual(queues.positions('High'), { next: 3, lasting: 0 });
    assert.deepEqual(queues.positions('Low'), { next: 5, lasting: 0 });
    queues.put('High', events(1));
    const resume = async () => {
      for (const done of syncs.splice(0)) done();
      await time.tickAsync(seconds(2));
    };
    await resume(); // the files
    assert.equal(queues.positions('High').lasting, 0);
    await resume(); // their folders
    assert.deepEqual(queues.positions('High'), { next: 4, lasting: 3 }, 'the last one came during the sync');
    assert.deepEqual(queues.positions('Low'), { next: 5, lasting: 5 });
    await resume();
    assert.equal(queues.positions('High').lasting, 4);
    await within(seconds(5), queues.stop());
  });

  it('notes what was dropped while a sync hangs', async () => {
    await queues.start();
    queues.put('Low', events(1));
    await time.tickAsync(seconds(2));
    queues.drop('Low', 'Login', 'kernel', 7);
    await time.tickAsync(seconds(2));
    const killed = new EventQueues({
      files: synchronousFiles,
      directory: join(folder, 'queues'),
      settings: testSettings(CACHE),
      clock,
      log: quietLog(),
    });
    await killed.start();
    assert.deepEqual(killed.account('Low').byEvent.Login?.dropped, { kernel: 7 });
    await Promise.all([within(seconds(5), queues.stop()), killed.stop()]);
  });
});
