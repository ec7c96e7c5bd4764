import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BackgroundWriter } from '../../src/base/background-writer.ts';
import { systemClock } from '../../src/base/clock.ts';
import { seconds } from '../../src/base/duration.ts';
import { createLog } from '../../src/base/log.ts';
import { BackgroundFiles } from '../../src/pipeline/background-files.ts';
import { EventQueues } from '../../src/pipeline/queue.ts';
import { assertClosed, event, events, testSettings } from './queue-fixture.ts';

const MOST = 64 * 1024;
const CACHE = 32 * 1024 * 1024;

describe('EventQueues on a disk that hangs', () => {
  let folder: string;
  let writer: BackgroundWriter;
  let files: BackgroundFiles;
  let queues: EventQueues;
  let logged: () => void;
  let goOn: () => void;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'vakt-slow-'));
    writer = new BackgroundWriter({ clock: systemClock, most: MOST });
    files = new BackgroundFiles(writer);
    logged = () => {};
    goOn = () => {};
    const log = createLog({ level: 'error', destination: { write: () => logged() } });
    queues = new EventQueues({
      directory: join(folder, 'queues'),
      settings: testSettings(CACHE),
      clock: systemClock,
      log,
      files,
      memoryBytes: MOST,
    });
  });
  afterEach(async () => {
    goOn();
    await queues.stop();
    await writer.settle(seconds(5));
    rmSync(folder, { recursive: true });
  });

  const hang = () => writer.add({ bytes: 0, run: () => new Promise((resolve) => (goOn = resolve)) });
  const turn = () => new Promise((resolve) => setImmediate(resolve));

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
      if (count % 10 === 0) await turn();
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
      if (count % 10 === 0) await turn();
    }
    const { totals } = queues.account('Low');
    assertClosed(queues);
    assert.ok((totals.dropped.cacheFull ?? 0) > 100, JSON.stringify(totals));
    assert.ok(totals.queued > 60, JSON.stringify(totals));
    goOn();
    await writer.settle(seconds(5));
    await queues.stop();
    assert.equal(queues.account('Low').totals.collected, 400);
    assertClosed(queues);
  });
});
