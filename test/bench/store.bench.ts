/*
 * Cost of storing events at the budget's rate and at the highest rate. The peer is a plain append of the same bytes in the same
 * run, with as many syncs, but without framing, accounts and deletion.
 *
 *   node dist/test/bench/store.bench.js [seconds at the rate, 60]
 */

import { spawnSync } from 'node:child_process';
import { fdatasync, mkdtempSync, openSync, rmSync, truncateSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { EventQueues } from '../../src/agent/pipeline/queue.ts';
import type { StoreFiles } from '../../src/agent/pipeline/store-files.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { milliseconds } from '../../src/core/base/duration.ts';
import { createLog } from '../../src/core/base/log.ts';
import { nextTurn } from '../../src/core/base/waiting.ts';
import type { OutgoingEvent } from '../../src/core/contract/store.ts';
import { testSettings } from '../agent/pipeline/queue-fixture.ts';
import { synchronousFiles } from '../agent/pipeline/synchronous-files.ts';
import { NODE_FLAGS } from '../node-flags.ts';
import { report } from './figures.ts';

/** Measures memory with the agent's Node flags. */
if (!NODE_FLAGS.every((flag) => process.execArgv.includes(flag))) {
  const args = [...NODE_FLAGS, ...process.argv.slice(1)];
  process.exit(spawnSync(process.execPath, args, { stdio: 'inherit' }).status ?? 1);
}

const RATE = 5_000;
const BATCH = 50;
/** Sizes of an average ProcessCreate and of the smallest event. */
const SIZES = [600, 350];
const MESSAGE = 200_000;
const DEFAULT_LIMIT = 2_560_000;
const AS_FAST = 100_000;

const counts = { written: 0, writes: 0, syncs: 0 };
const countingFiles: StoreFiles = {
  ...synchronousFiles,
  sync(path) {
    counts.syncs += 1;
    return synchronousFiles.sync(path);
  },
  syncNow(path) {
    counts.syncs += 1;
    synchronousFiles.syncNow(path);
  },
  create(path) {
    const file = synchronousFiles.create(path);
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

const batchOf = (bytes: number): OutgoingEvent[] =>
  Array.from({ length: BATCH }, (_, i) => ({
    name: i % 10 === 0 ? 'Login' : 'ProcessCreate',
    elements: 1,
    occurrences: 1,
    json: JSON.stringify({ i, x: 'x'.repeat(bytes - 17) }).padEnd(bytes),
  }));

const HEAD = ['', 'events/s', 'CPU ms/1000', 'bytes/byte', 'writes', 'syncs', 'RSS MiB by quarter', 'dropped'];

interface Contestant {
  readonly name: string;
  readonly eventBytes: number;
  put(): void;
  dropped(): number;
}

/** Runs a contestant until `events` are stored, with pauses by `pace`. @returns its row of figures */
async function measure(
  { name, eventBytes, put, dropped }: Contestant,
  events: number,
  rate: number,
): Promise<string[]> {
  Object.assign(counts, { written: 0, writes: 0, syncs: 0 });
  const rss: number[] = [];
  const droppedBefore = dropped();
  const cpu = process.cpuUsage();
  const start = systemClock.monotonic();
  for (let stored = 0; stored < events; stored += BATCH) {
    put();
    if (stored % 1_000 === 0) rss.push(process.memoryUsage.rss() / 2 ** 20);
    const ahead = (stored / rate) * 1_000 - (systemClock.monotonic() - start);
    if (ahead > 1) await systemClock.sleep(milliseconds(ahead));
    else await nextTurn();
  }
  const ms = systemClock.monotonic() - start;
  const { user, system } = process.cpuUsage(cpu);
  const quarter = (n: number) => rss.slice((n * rss.length) / 4, ((n + 1) * rss.length) / 4);
  return [
    name,
    String(Math.round((events / ms) * 1_000)),
    ((user + system) / events).toFixed(2),
    (counts.written / (events * eventBytes)).toFixed(3),
    String(counts.writes),
    String(counts.syncs),
    [0, 1, 2, 3].map((n) => mean(quarter(n)).toFixed(1)).join(', '),
    String(dropped() - droppedBefore),
  ];
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** One file, synced at most every 100 ms like the High queue, and truncated from time to time. */
function peer(eventBytes: number): Contestant {
  const sample = batchOf(eventBytes).map(({ json }) => json);
  const bytes = Buffer.from(sample.join(''));
  const path = join(folder, `peer-${eventBytes}`);
  const file = openSync(path, 'a');
  let syncing = false;
  const sync = async () => {
    syncing = true;
    counts.syncs += 1;
    await systemClock.sleep(milliseconds(100));
    await promisify(fdatasync)(file);
    syncing = false;
  };
  return {
    name: `peer: plain append and fdatasync, ${eventBytes} bytes`,
    eventBytes,
    dropped: () => 0,
    put() {
      counts.written += writeSync(file, bytes);
      counts.writes += 1;
      if (counts.writes % 1_000 === 0) truncateSync(path, 0);
      if (!syncing) void sync();
    },
  };
}

/** @param drained whether a hub accepts all events, one message at a time */
async function store(name: string, eventBytes: number, limit: number, drained: boolean): Promise<Contestant> {
  const sample = batchOf(eventBytes);
  const queues = new EventQueues({
    directory: join(folder, `${name}-${eventBytes}-${limit}`),
    settings: testSettings(limit),
    clock: systemClock,
    log: createLog({ level: 'error' }),
    files: countingFiles,
  });
  await queues.start();
  opened.push(queues);
  return {
    name: `${name}, ${eventBytes} bytes`,
    eventBytes,
    dropped: () => Object.values(queues.account('High').totals.dropped).reduce((sum, count) => sum + count, 0),
    put() {
      queues.put('High', sample);
      while (drained && queues.waiting('High').bytes >= MESSAGE) {
        queues.take('High', MESSAGE, true);
        queues.settle('High', 'delivered');
      }
    },
  };
}

const folder = mkdtempSync(join(process.env.BENCH_DIRECTORY ?? tmpdir(), 'vakt-bench-'));
const opened: EventQueues[] = [];
const seconds = Number(process.argv[2] ?? 60);
try {
  for (const size of SIZES) {
    const rows = [HEAD];
    for (const contestant of [
      peer(size),
      await store('store, drained', size, DEFAULT_LIMIT, true),
      await store('store, full', size, DEFAULT_LIMIT, false),
    ]) {
      await measure(contestant, (RATE * seconds) / 6, RATE); // until the heap has reached its final size
      rows.push(await measure(contestant, RATE * seconds, RATE));
    }
    report(`${RATE} events/s for ${seconds} s, default limit`, rows, ['budget: bytes/byte ≤ 1.2, RSS flat']);
  }
  const rows = [HEAD];
  for (const contestant of [
    peer(600),
    await store('store, drained', 600, 2 * DEFAULT_LIMIT, true),
    await store('store, room for all', 600, 100 * DEFAULT_LIMIT, false),
  ]) {
    rows.push(await measure(contestant, AS_FAST, Number.POSITIVE_INFINITY));
  }
  report(`${AS_FAST} events as fast as it goes`, rows);
} finally {
  for (const queues of opened) await queues.stop();
  rmSync(folder, { recursive: true });
}
