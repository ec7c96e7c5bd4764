import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { processCreate } from '../../../src/agent/collectors/process-create.ts';
import { Aggregator } from '../../../src/agent/pipeline/aggregator.ts';
import { EventQueues } from '../../../src/agent/pipeline/queue.ts';
import { droppedIn } from '../../../src/core/base/counters.ts';
import { hours, milliseconds } from '../../../src/core/base/duration.ts';
import { nextTurn } from '../../../src/core/base/waiting.ts';
import { triggered } from '../../../src/core/contract/collector.ts';
import { QUEUES } from '../../../src/core/contract/event.ts';
import type { Settings } from '../../../src/core/contract/settings.ts';
import type { OutgoingEvent } from '../../../src/core/contract/store.ts';
import { modelRuns } from '../../fuzz.ts';
import { aggregating, liveSettings, quietLog } from './memory-queues.ts';
import { contents, HandClock } from './queue-fixture.ts';
import { type Operation, SimulatedFiles, seeded } from './simulated-files.ts';

/*
 * Random operations on the aggregator and the real queues, on a disk that can fail, fill up, tear writes and lose what
 * was not synced, with a process that dies between any two of its operations: checked against a model that only counts.
 */

const NAMES = ['ProcessCreate', 'ProcessTerminate'] as const;
const COLLECTORS = NAMES.map((name) =>
  triggered({ ...processCreate, name } as unknown as Parameters<typeof triggered>[0]),
);

const settingsOf = (interval = hours(1), limit = 5_000_000): Partial<Settings> => ({
  maxLocalCacheSizeInBytes: limit,
  priorities: { ProcessCreate: 'Low', ProcessTerminate: 'High' },
  ...aggregating(NAMES, interval),
});

class World {
  readonly random: () => number;
  readonly files: SimulatedFiles;
  clock = new HandClock();
  settings = liveSettings(settingsOf());
  queues!: EventQueues;
  aggregator!: Aggregator;
  /** Received events, keyed by id: the hub drops repeated ones. */
  readonly #seen = new Map<string, string>();

  readonly #length: number;

  /** @param length of the longest command, in pieces of 200 bytes */
  constructor(seed: number, length: number) {
    this.random = seeded(seed);
    this.#length = length;
    this.files = new SimulatedFiles(this.random);
  }

  async start(): Promise<void> {
    const { files, clock, settings } = this;
    const log = quietLog();
    this.queues = new EventQueues({ directory: '/q', settings, clock, log, files });
    this.aggregator = new Aggregator({ directory: '/a', settings, clock, queues: this.queues, log, files });
    await this.queues.start();
    await this.aggregator.start();
  }

  /** A new process on what the old one has left. */
  async restart(): Promise<void> {
    await nextTurn();
    this.files.restart();
    this.clock = new HandClock(); // the loops of the old clock never wake up
    this.settings = liveSettings(this.settings.current());
    await this.start();
  }

  add(): string {
    const which = this.random() < 0.7 ? 0 : 1;
    const command = Math.floor(this.random() ** 3 * 200);
    const collector = COLLECTORS[which] ?? assert.fail();
    const payload = {
      Executable: '/bin/x',
      CommandLine: `x ${command} ${'y'.repeat(command * this.#length)}`,
      UserId: '0',
    };
    const key = `${collector.name} ${payload.CommandLine}`;
    const time = new Date(1_000_000 + this.random() * 1_000_000);
    this.aggregator.add(collector, which === 0 ? 'Low' : 'High', payload, time);
    return key;
  }

  /** The hub takes all there is. */
  deliver(): void {
    for (const queue of QUEUES) {
      const taken = this.queues.take(queue, Number.POSITIVE_INFINITY, true);
      for (const { json } of taken) this.#see(json);
      if (taken.length > 0) this.queues.settle(queue, 'delivered');
    }
  }

  /** Occurrences by what they are: in the queues, or delivered. */
  counted(): Map<string, number> {
    for (const queue of QUEUES) {
      const waiting = contents(this.queues, queue).map(({ json }) => json);
      assert.equal(new Set(waiting.map(idOf)).size, waiting.length, 'an event is there twice');
      for (const json of waiting) this.#see(json);
    }
    const counted = new Map<string, number>();
    for (const json of this.#seen.values()) {
      const { Name, Payload: payload } = JSON.parse(json) as { Name: string; Payload: Record<string, unknown>[] };
      for (const { CommandLine, ExtraDetails } of payload)
        count(counted, `${Name} ${CommandLine}`, Number((ExtraDetails as { HitCount: string }).HitCount));
    }
    return counted;
  }

  #see(json: string): void {
    this.#seen.set(idOf(json), json);
  }

  /** Collected = delivered + aggregated away + dropped + queued + pending, and that is how many were added. */
  books(): { collected: number; lost: number } {
    let collected = 0;
    let lost = 0;
    for (const queue of QUEUES) {
      const { totals } = this.queues.account(queue);
      assert.equal(totals.collected, totals.delivered + totals.aggregatedAway + droppedIn(totals) + totals.queued);
      collected += totals.collected;
      lost += droppedIn(totals);
      for (const { occurrences } of Object.values(this.aggregator.pending(queue))) collected += occurrences;
    }
    return { collected, lost };
  }

  flush(): void {
    const interval = milliseconds((this.settings.current().aggregationInterval.ProcessCreate ?? 0) + 1);
    this.settings.replace({ ...this.settings.current(), ...settingsOf(interval) });
  }
}

const idOf = (json: string) => (JSON.parse(json) as { Id: string }).Id;
const count = (counts: Map<string, number>, key: string, hits: number) =>
  counts.set(key, (counts.get(key) ?? 0) + hits);
const total = (counts: Map<string, number>) => [...counts.values()].reduce((all, n) => all + n, 0);
/** Operations of a disk that is read-only, that fails, or that cannot sync. */
const FAILING: readonly (readonly Operation[])[] = [
  ['create', 'append', 'truncate', 'remove', 'sync', 'syncNow'],
  ['create', 'append'],
  ['append'],
];

/** An event that is not counted. */
const otherEvent = (): OutgoingEvent => {
  const envelope = { Id: randomUUID(), Name: 'Login', Payload: [] };
  return { name: 'Login', elements: 1, occurrences: 1, json: JSON.stringify(envelope) };
};

describe('counts on disk', () => {
  for (const [kind, length, limit] of [
    ['few and short', 1, 5_000_000],
    ['too many for the table', 50, 1_000_000],
  ] as const) {
    it(`counts survive a process that dies at any point, without losses or repeats (${kind})`, async function () {
      this.timeout(120_000);
      for (let seed = 1; seed <= modelRuns(60); seed += 1) {
        const world = new World(seed, length);
        world.settings = liveSettings(settingsOf(hours(1), limit));
        await world.start();
        /** Counts on disk at the end of a turn, and counts that may be there in addition. */
        const sure = new Map<string, number>();
        const maybe = new Map<string, number>();
        for (let life = 0; life < 5; life += 1) {
          world.files.dieAfter = Math.floor(world.random() * 80);
          for (let turn = 0; turn < 40 && !world.files.dead; turn += 1) {
            const batch: string[] = [];
            try {
              const n = world.random() * 30;
              for (let i = 0; i < n; i += 1) batch.push(world.add());
              if (world.random() < 0.1) world.flush();
              if (world.random() < 0.2) world.deliver();
            } catch (error) {
              if (!world.files.dead) throw error;
            }
            await nextTurn();
            if (world.random() < 0.3) await world.clock.advance(world.random() < 0.1 ? hours(1) : 1_000);
            for (const key of batch) count(world.files.dead ? maybe : sure, key, 1);
          }
          await world.restart();
          const where = `seed ${seed}, life ${life}`;
          const { collected, lost } = world.books();
          assert.equal(lost, 0, where);
          world.flush();
          const counted = world.counted();
          for (const [key, hits] of sure) assert.ok((counted.get(key) ?? 0) >= hits, `${where}: ${key}`);
          for (const [key, hits] of counted)
            assert.ok(hits <= (sure.get(key) ?? 0) + (maybe.get(key) ?? 0), `${where}: ${key}`);
          assert.equal(total(counted), collected, where);
          sure.clear();
          maybe.clear();
          for (const [key, hits] of counted) sure.set(key, hits);
          world.deliver();
        }
      }
    });
  }

  it('synced counts survive a power cut exactly once; only those of the last second may be lost', async function () {
    this.timeout(120_000);
    for (let seed = 1; seed <= modelRuns(200); seed += 1) {
      const world = new World(seed, 1);
      await world.start();
      const synced = new Map<string, number>();
      const all = new Map<string, number>();
      for (let life = 0; life < 4; life += 1) {
        for (let i = 0; i < 60; i += 1) {
          const key = world.add();
          count(synced, key, 1);
          count(all, key, 1);
          if (i % 20 === 0) await nextTurn();
        }
        for (let i = 0; i < 3; i += 1) await world.clock.advance(1_000);
        for (let i = world.random() * 40; i > 0; i -= 1) {
          count(all, world.add(), 1);
          if (world.random() < 0.1) await nextTurn();
        }
        if (world.random() < 0.7) world.flush();
        if (world.random() < 0.5) await world.clock.advance(world.random() * 1_200);
        world.files.cutPower();
        await world.restart();
        const where = `seed ${seed}, life ${life}`;
        world.flush();
        for (let i = 0; i < 3; i += 1) await world.clock.advance(1_000);
        const counted = world.counted();
        for (const [key, hits] of synced) assert.ok((counted.get(key) ?? 0) >= hits, `${where}: ${key}`);
        for (const [key, hits] of counted) assert.ok(hits <= (all.get(key) ?? 0), `${where}: ${key} twice`);
        synced.clear();
        all.clear();
        for (const [key, hits] of counted) for (const counts of [synced, all]) counts.set(key, hits);
      }
    }
  });

  it('counts are kept in memory while the disk refuses writes, and written when it accepts them again', async function () {
    this.timeout(180_000);
    for (let seed = 1; seed <= modelRuns(100); seed += 1) {
      const world = new World(seed, 1);
      await world.start();
      const all = new Map<string, number>();
      const some = async (n: number) => {
        for (let i = 0; i < n; i += 1) count(all, world.add(), 1);
        await nextTurn();
      };
      const error = ['ENOSPC', 'EROFS', 'EIO'][seed % 3] ?? '';
      await some(50);
      const failing = new Set(['create', 'append', 'truncate', 'sync', 'remove', 'syncNow']);
      world.files.fault = (operation, path) =>
        path.startsWith('/a') && failing.has(operation) && world.random() < 0.9 ? error : undefined;
      for (let i = 0; i < 10; i += 1) {
        await some(20);
        if (world.random() < 0.2) world.flush();
        await world.clock.advance(300);
      }
      world.files.fault = () => undefined;
      for (let i = 0; i < 3; i += 1) await world.clock.advance(1_000);
      await world.restart();
      assert.equal(world.books().collected, total(all), `seed ${seed}`);
      world.flush();
      assert.deepEqual([...world.counted()].sort(), [...all].sort(), `seed ${seed}`);
    }
  });

  it('counts survive kill -9 while the queues are in memory: events only in memory are repeated with the same ids @release', async function () {
    this.timeout(120_000);
    let lives = 0;
    let inMemory = 0;
    for (const seed of [...Array.from({ length: 100 }, (_, index) => index + 1), 1478]) {
      const world = new World(seed, seed % 3 === 0 ? 50 : 1);
      await world.start();
      const sure = new Map<string, number>();
      const maybe = new Map<string, number>();
      for (let life = 0; life < 6; life += 1, lives += 1) {
        const code = ['EROFS', 'EIO', 'ENOENT', 'EMFILE'][Math.floor(world.random() * 4)];
        const failing = FAILING[Math.floor(world.random() * FAILING.length)] ?? [];
        const likely = world.random() < 0.5 ? 1 : 0.5;
        world.files.dieAfter = Math.floor(world.random() * 120);
        for (let turn = 0; turn < 16 && !world.files.dead; turn += 1) {
          if (turn === 3)
            world.files.fault = (operation, path) =>
              path.startsWith('/q') && failing.includes(operation) && world.random() < likely ? code : undefined;
          if (turn === 9 && world.random() < 0.5) world.files.fault = () => undefined;
          const batch: string[] = [];
          try {
            for (let i = world.random() * 20; i > 0; i -= 1) batch.push(world.add());
            if (world.random() < 0.3) world.queues.put('Low', [otherEvent()]);
            if (world.random() < 0.3) world.flush();
            if (world.random() < 0.2 && !world.files.dead) world.deliver();
          } catch (error) {
            if (!world.files.dead) throw error;
          }
          await nextTurn();
          for (const key of batch) count(world.files.dead ? maybe : sure, key, 1);
          if (world.random() < 0.5) await world.clock.advance(world.random() * 1_500);
        }
        if (world.queues.store().place === 'memory') inMemory += 1;
        world.files.fault = () => undefined;
        await world.restart();
        world.books();
      }
      world.flush();
      const counted = world.counted();
      for (const [key, hits] of sure) assert.ok((counted.get(key) ?? 0) >= hits, `seed ${seed}: ${key} is missing`);
      for (const [key, hits] of counted)
        assert.ok(hits <= (sure.get(key) ?? 0) + (maybe.get(key) ?? 0), `seed ${seed}: ${key} too often`);
    }
    assert.ok(inMemory > lives / 6, `in memory at ${inMemory} of ${lives} ends`);
  });

  it('counts appear at most twice after kill -9 while the disk refuses writes, and are exact once it accepts them', async function () {
    this.timeout(120_000);
    for (let seed = 1; seed <= modelRuns(100); seed += 1) {
      const world = new World(seed, 1);
      await world.start();
      const safe = new Map<string, number>();
      const all = new Map<string, number>();
      const some = async (turns: number, into: Map<string, number>[]) => {
        for (let turn = 0; turn < turns; turn += 1) {
          for (let i = world.random() * 20; i > 0; i -= 1) {
            const key = world.add();
            for (const counts of into) count(counts, key, 1);
          }
          if (world.random() < 0.3) world.flush();
          if (world.random() < 0.2) world.deliver();
          await nextTurn();
          if (world.random() < 0.5) await world.clock.advance(world.random() * 1_500);
        }
      };
      const code = ['EROFS', 'EIO', 'ENOENT'][Math.floor(seed / 3) % 3];
      await some(5, [safe, all]);
      const failing = FAILING[seed % FAILING.length] ?? [];
      world.files.fault = (operation) => (failing.includes(operation) ? code : undefined);
      await some(5, [all]);
      const isBack = world.random() < 0.3;
      if (isBack) {
        world.files.fault = () => undefined;
        for (let i = 0; i < 4; i += 1) await world.clock.advance(1_000);
        await some(5, [safe, all]);
      }
      world.files.fault = () => undefined;
      await world.restart();
      world.books();
      await some(5, [safe, all]);
      await world.restart();
      world.flush();
      const counted = world.counted();
      const where = `seed ${seed} ${code} ${failing}`;
      for (const [key, hits] of safe) assert.ok((counted.get(key) ?? 0) >= hits, `${where}: ${key} is missing`);
      for (const [key, hits] of counted) assert.ok(hits <= 2 * (all.get(key) ?? 0), `${where}: ${key} too often`);
    }
  });
});
