/*
 * What it costs to store events: appended, synced, taken, settled. The peer is a plain append of the same bytes in the
 * same run, with no framing, no books and no syncs.
 *
 *   node dist/test/bench/store.bench.js [seconds]
 */
import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import { milliseconds } from '../../src/base/duration.ts';
import { createLog } from '../../src/base/log.ts';
import type { OutgoingEvent } from '../../src/contract/store.ts';
import { EventQueues } from '../../src/pipeline/queue.ts';
import { type StoreFiles, systemFiles } from '../../src/pipeline/store-files.ts';
import { testSettings } from '../pipeline/queue-fixture.ts';

const EVENT_BYTES = 600;
const BATCH = 50;
const RATE = 5_000;

const counts = { written: 0, writes: 0, syncs: 0 };
const countingFiles: StoreFiles = {
  ...systemFiles,
  sync(path) {
    counts.syncs += 1;
    return systemFiles.sync(path);
  },
  syncNow(path) {
    counts.syncs += 1;
    systemFiles.syncNow(path);
  },
  create(path) {
    const file = systemFiles.create(path);
    return {
      append(bytes) {
        counts.written += bytes.length;
        counts.writes += 1;
        file.append(bytes);
      },
      truncate: (size) => file.truncate(size),
      sync() {
        counts.syncs += 1;
        return file.sync();
      },
      close: () => file.close(),
    };
  },
};

const batch = (): OutgoingEvent[] =>
  Array.from({ length: BATCH }, (_, i) => ({
    name: i % 10 === 0 ? 'Login' : 'ProcessCreate',
    elements: 1,
    occurrences: 1,
    json: JSON.stringify({ i, x: 'x'.repeat(EVENT_BYTES - 17) }).padEnd(EVENT_BYTES),
  }));

async function measure(what: string, events: number, work: () => void | Promise<void>): Promise<void> {
  Object.assign(counts, { written: 0, writes: 0, syncs: 0 });
  const cpu = process.cpuUsage();
  const start = performance.now();
  await work();
  const ms = performance.now() - start;
  const { user, system } = process.cpuUsage(cpu);
  const figures = [
    `${Math.round((events / ms) * 1_000)} events/s`,
    `${((user + system) / events).toFixed(2)} ms CPU per 1000`,
    ...(counts.written > 0 ? [`${(counts.written / (events * EVENT_BYTES)).toFixed(3)} bytes written per byte`] : []),
    `${counts.writes} writes`,
    `${counts.syncs} syncs`,
    `${(process.memoryUsage.rss() / 2 ** 20).toFixed(1)} MiB RSS`,
  ];
  console.log(`${what.padEnd(44)} ${figures.join(', ')}`);
}

const folder = mkdtempSync(join(process.env.BENCH_DIRECTORY ?? tmpdir(), 'vakt-bench-'));
const seconds = Number(process.argv[2] ?? 5);
const sample = batch();
const bytes = Buffer.from(sample.map(({ json }) => json).join(''));
const breathe = () => new Promise<void>((resolve) => setImmediate(resolve));

async function open(name: string, limit: number): Promise<EventQueues> {
  const queues = new EventQueues({
    directory: join(folder, name),
    settings: testSettings(limit),
    clock: systemClock,
    log: createLog({ level: 'warn' }),
    files: countingFiles,
  });
  await queues.start();
  return queues;
}

async function atRate(put: () => void): Promise<void> {
  const start = systemClock.monotonic();
  for (let n = 0; n < RATE * seconds; n += BATCH) {
    put();
    const ahead = (n / RATE) * 1_000 - (systemClock.monotonic() - start);
    if (ahead > 1) await systemClock.sleep(milliseconds(ahead));
    else await breathe();
  }
}

const many = 100_000;
const roomy = await open('roomy', 200_000_000);
for (let round = 1; round <= 2; round += 1) {
  await measure('peer: appendFileSync, as fast as it goes', many, () => {
    for (let n = 0; n < many; n += BATCH) appendFileSync(join(folder, 'peer'), bytes);
  });
  await measure('put, as fast as it goes, room for all', many, async () => {
    for (let n = 0; n < many; n += BATCH) {
      roomy.put('High', sample);
      await breathe();
    }
  });
  await measure('take and deliver all, 200 KB at a time', many, () => {
    while (roomy.take('High', 200_000, true).length > 0) roomy.settle('High', 'delivered');
  });
}
await roomy.stop();

const full = await open('full', 2_560_000);
await measure(`peer: appendFileSync at ${RATE} events/s`, RATE * seconds, () =>
  atRate(() => appendFileSync(join(folder, 'peer'), bytes)),
);
for (const queue of ['Low', 'High', 'Low'] as const) {
  const { dropped } = full.account(queue).totals;
  await measure(`put ${queue} at ${RATE} events/s, 2.5 MB, full`, RATE * seconds, () =>
    atRate(() => full.put(queue, sample)),
  );
  const { cacheFull = 0 } = full.account(queue).totals.dropped;
  console.log(`  ${full.waiting(queue).events} wait, ${cacheFull - (dropped.cacheFull ?? 0)} were dropped`);
}
await full.stop();
rmSync(folder, { recursive: true });
