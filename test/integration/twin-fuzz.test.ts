import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import sinon from 'sinon';
import { collectors } from '../../src/agent/collectors/index.ts';
import { Occurrences } from '../../src/agent/collectors/occurrences.ts';
import { TwinConfiguration } from '../../src/agent/config/twin-configuration.ts';
import { TwinSync } from '../../src/agent/hub/twin-sync.ts';
import { Aggregator } from '../../src/agent/pipeline/aggregator.ts';
import { Publisher } from '../../src/agent/pipeline/publisher.ts';
import { EventQueues } from '../../src/agent/pipeline/queue.ts';
import { Snapshots } from '../../src/agent/pipeline/snapshots.ts';
import { Triggers } from '../../src/agent/pipeline/triggers.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { droppedIn, sum } from '../../src/core/base/counters.ts';
import { days, milliseconds, seconds } from '../../src/core/base/duration.ts';
import type { LogLine } from '../../src/core/base/log.ts';
import { QUEUES } from '../../src/core/contract/event.ts';
import type { Answer } from '../../src/core/contract/hub.ts';
import type { Message } from '../../src/core/contract/message.ts';
import type { Settings } from '../../src/core/contract/settings.ts';
import type { Sources } from '../../src/core/contract/sources.ts';
import { type Members, sizeInTwin } from '../../src/core/twin/sections.ts';
import { look, records, sources } from '../agent/collectors/samples.ts';
import { anyDocument } from '../agent/config/arbitrary-twin.ts';
import { properties, publishedDialect } from '../agent/config/published.ts';
import { FakeHub } from '../agent/hub/fake-hub.ts';
import { quietLog } from '../agent/pipeline/memory-queues.ts';
import { memoryChains } from '../agent/pipeline/message-chains.ts';
import { SimulatedFiles, seeded } from '../agent/pipeline/simulated-files.ts';
import { immediateStateFiles } from '../agent/state/immediate-state-files.ts';
import { fuzzRuns } from '../fuzz.ts';
import { temporaryFolder } from '../harness/folders.ts';

const DOCUMENTS = fuzzRuns(100_000);
const OBJECT = 'configuration';
const DEFAULTED = properties.filter(({ fallback }) => fallback !== undefined).map(({ name }) => name);

/** Accepts messages and records their times. */
class ListeningHub extends FakeHub {
  messages = 0;
  mostInASecond = 0;
  #latest: number[] = [];

  override async send(_message: Message): Promise<Answer<void>> {
    const now = Date.now();
    this.#latest = [...this.#latest.filter((at) => at > now - 1_000), now];
    this.mostInASecond = Math.max(this.mostInASecond, this.#latest.length);
    this.messages += 1;
    return { status: 'accepted', value: undefined };
  }
}

const heapAfterCollection = (): number => {
  setFlagsFromString('--expose-gc');
  runInNewContext('gc')();
  return process.memoryUsage().heapUsed;
};

const spansOf = (settings: Settings) => [
  settings.highPriorityMessageFrequency,
  settings.lowPriorityMessageFrequency,
  settings.snapshotFrequency,
  ...Object.values(settings.aggregationInterval),
];

/** All parts that depend on the twin; only the kernel, the queues' disk and the hub are simulated. */
class Pipeline {
  readonly hub = new ListeningHub();
  readonly lines: LogLine[] = [];
  readonly files = new SimulatedFiles(seeded(1)); // simulated time doesn't wait for a real disk
  readonly lastGoodFile: string;
  readonly configuration: TwinConfiguration;
  readonly queues: EventQueues;
  readonly aggregator: Aggregator;
  readonly occurrences: Occurrences;
  snapshotsTaken = 0;
  readonly #services;

  constructor(folder: string) {
    this.lastGoodFile = join(folder, 'last-good.json');
    const log = quietLog(this.lines);
    this.configuration = new TwinConfiguration({
      files: immediateStateFiles,
      dialect: publishedDialect(OBJECT),
      lastGoodFile: this.lastGoodFile,
      onFaults: (faults) => this.occurrences.accept('configuration', faults),
      clock: systemClock,
      log,
    });
    const { settings } = this.configuration;
    const parts = { settings, clock: systemClock, log };
    this.queues = new EventQueues({ ...parts, directory: '/queues', files: this.files });
    this.aggregator = new Aggregator({ ...parts, queues: this.queues, directory: '/aggregates', files: this.files });
    const sender = { version: '0.1.0', id: '0b5c3f5e-93a4-4b6b-8d7c-0a1b2c3d4e5f' };
    const publisher = new Publisher({
      chains: memoryChains(),
      ...parts,
      queues: this.queues,
      hub: this.hub,
      sender,
      routing: 'security',
    });
    const { queues, aggregator } = this;
    this.occurrences = new Occurrences({ collectors, lookups: look });
    this.occurrences.offerTo(new Triggers({ collectors, settings, aggregator, queues, origin: sender.id, log }));
    const snapshots = new Snapshots({
      ...parts,
      collectors,
      sources: this.#counted(sources),
      queues: this.queues,
      changed: () => sync.changed(),
    });
    const sync: TwinSync = new TwinSync({
      hub: this.hub,
      apply: (desired) => this.configuration.apply(desired),
      reported: () => ({
        ...this.configuration.reported(),
        securityAgent: { configuration: this.configuration.state() },
      }),
      clock: systemClock,
      log,
    });
    settings.onChange(() => sync.changed());
    this.#services = [this.queues, this.aggregator.recovery, sync, publisher, this.aggregator, snapshots];
  }

  #counted(all: Sources): Sources {
    const list = async (signal: AbortSignal) => {
      this.snapshotsTaken += 1;
      return all.accounts.list(signal);
    };
    return { ...all, accounts: { ...all.accounts, list } };
  }

  async start(time: sinon.SinonFakeTimers): Promise<void> {
    for (const service of this.#services) await service.start();
    this.hub.emit('connected');
    await time.tickAsync(seconds(1));
  }

  async stop(time: sinon.SinonFakeTimers): Promise<void> {
    for (const service of this.#services.toReversed()) {
      const stopped = service.stop();
      await time.tickAsync(seconds(12));
      await stopped;
    }
  }

  /** Simulates events on the device. */
  live(n: number): void {
    const now = new Date();
    this.occurrences.accept('starts', [{ ...records.starts, time: now, serial: n, commandLine: `ls ${n % 50}` }]);
    this.occurrences.accept('connections', [{ ...records.connections, time: now, serial: n }]);
    this.occurrences.accept('logins', [{ ...records.logins, time: now, serial: n }]);
  }

  /** The configuration object with which the next run would start. */
  lastGood(): unknown {
    return (JSON.parse(readFileSync(this.lastGoodFile, 'utf8')) as { configuration: unknown }).configuration;
  }
}

describe(`A running pipeline with ${DOCUMENTS} random desired configurations`, function () {
  this.timeout(milliseconds(Math.max(120_000, DOCUMENTS * 60)));
  let time: sinon.SinonFakeTimers;
  let folder: string;

  beforeEach(() => {
    folder = temporaryFolder();
    time = sinon.useFakeTimers({
      now: new Date('2026-03-04T05:06:07Z'),
      toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'],
    });
  });
  afterEach(() => {
    time.restore();
  });

  it('never fails or grows, applies or rejects each configuration, and never exceeds its limits', async () => {
    const seed = (Math.random() * 2 ** 31) | 0;
    const names = properties.map(({ name }) => name);
    const next = fc.sample(anyDocument(properties), { numRuns: Math.min(DOCUMENTS, 5_000), seed });
    const pipeline = new Pipeline(folder);
    const { hub, configuration } = pipeline;
    const says = (n: number) => `document ${n} of seed ${seed}`;
    await pipeline.start(time);
    const began = Date.now();
    let lastGood: unknown = null;
    let mostTimers = 0;
    let heap = 0;
    let applied = 0;

    for (let n = 0; n < DOCUMENTS; n += 1) {
      // Every document is repeated with another one merged into it, so that 5,000 documents yield any number.
      const drawn = next[n % next.length];
      const other = next[(n * 7 + Math.floor(n / next.length)) % next.length];
      const document = n < next.length ? drawn : mixed(drawn, other);
      const before = configuration.settings.current();
      hub.desire({ [OBJECT]: document });
      pipeline.live(n);
      await time.tickAsync(seconds(1));

      const settings = configuration.settings.current();
      const { errors, desiredVersion, source } = configuration.state();
      assert.equal(desiredVersion, hub.desired.$version, says(n));
      if (Object.keys(errors).length > 0) assert.equal(settings, before, says(n));
      else {
        lastGood = JSON.parse(JSON.stringify(document ?? null));
        applied += 1;
        assert.equal(source, 'desired', says(n));
      }
      for (const span of spansOf(settings)) assert.ok(span >= seconds(1) && span <= days(365), says(n));
      const mirror = hub.reported[OBJECT] as Members;
      for (const name of Object.keys(mirror)) assert.ok(names.includes(name), says(n));
      for (const name of DEFAULTED) assert.ok(name in mirror, says(n));
      assert.ok(sizeInTwin(hub.reported) < 32_000, says(n));
      mostTimers = Math.max(mostTimers, time.countTimers());
      hub.patches.length = 0;
      if (n % 500 === 0) {
        if (applied > 0) assert.deepEqual(pipeline.lastGood(), lastGood, says(n));
        assert.deepEqual(
          pipeline.lines.filter(({ level, id }) => level === 'fatal' || id === 'INTERNAL'),
          [],
          says(n),
        );
        assert.deepEqual(
          pipeline.lines.filter(({ message }) => /defect/.test(message)),
          [],
          says(n),
        );
        pipeline.lines.length = 0;
      }
      if (n === Math.floor(DOCUMENTS / 2)) heap = heapAfterCollection();
    }

    const passed = (Date.now() - began) / 1_000;
    const growth = (heapAfterCollection() - heap) / 1e6;
    const totals = sum(QUEUES.map((queue) => pipeline.queues.account(queue).totals));
    process.stdout.write(
      `      seed ${seed}: ${applied} of ${DOCUMENTS} applied in ${passed} s of its time, ${hub.messages} messages ` +
        `(${hub.mostInASecond} in a second at most), ${pipeline.snapshotsTaken} snapshots of accounts, ` +
        `${totals.collected} events, ${droppedIn(totals)} dropped, at most ${mostTimers} timers, heap +${growth.toFixed(1)} MB\n`,
    );
    const waiting = QUEUES.reduce((all, queue) => all + pipeline.queues.waiting(queue).elements, 0);
    assert.equal(totals.collected, totals.delivered + totals.aggregatedAway + waiting + droppedIn(totals));
    assert.ok(applied > DOCUMENTS / 5 && applied < (DOCUMENTS * 4) / 5);
    assert.ok(hub.mostInASecond <= 3, `${hub.mostInASecond} messages in a second`);
    assert.ok(pipeline.snapshotsTaken <= passed * 2, `${pipeline.snapshotsTaken} snapshots`);
    assert.ok(mostTimers < 30, `${mostTimers} timers`);
    assert.ok(growth < 20, `${growth} MB`);
    await pipeline.stop(time);
  });
});

/** Merges two documents; members of the second one win. */
function mixed(one: unknown, other: unknown): unknown {
  const isObject = (value: unknown): value is Members => typeof value === 'object' && value !== null;
  return isObject(one) && isObject(other) && !Array.isArray(one) ? { ...one, ...other } : other;
}
