import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type sinon from 'sinon';
import { collectors as allCollectors } from '../../../src/agent/collectors/index.ts';
import { Occurrences } from '../../../src/agent/collectors/occurrences.ts';
import { LiveSettings } from '../../../src/agent/config/twin-configuration.ts';
import { Aggregator } from '../../../src/agent/pipeline/aggregator.ts';
import { MessageBudget } from '../../../src/agent/pipeline/message-budget.ts';
import { Publisher } from '../../../src/agent/pipeline/publisher.ts';
import { EventQueues } from '../../../src/agent/pipeline/queue.ts';
import { Snapshots } from '../../../src/agent/pipeline/snapshots.ts';
import { Statistics } from '../../../src/agent/pipeline/statistics.ts';
import type { StoreFiles } from '../../../src/agent/pipeline/store-files.ts';
import { Triggers } from '../../../src/agent/pipeline/triggers.ts';
import type { StateFiles } from '../../../src/agent/state/state-files.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { sum } from '../../../src/core/base/counters.ts';
import { type Duration, seconds } from '../../../src/core/base/duration.ts';
import { AgentError } from '../../../src/core/base/errors.ts';
import type { Service } from '../../../src/core/base/service.ts';
import { VERSION } from '../../../src/core/base/version.ts';
import type { Collector } from '../../../src/core/contract/collector.ts';
import { type Envelope, QUEUES } from '../../../src/core/contract/event.ts';
import { type Answer, type HubClient, HubFailure } from '../../../src/core/contract/hub.ts';
import type { Lookups } from '../../../src/core/contract/lookups.ts';
import { type Message, type Routing, sizeOf, UNIT_BYTES, unitsOf } from '../../../src/core/contract/message.ts';
import type { Sources } from '../../../src/core/contract/sources.ts';
import { readTwin } from '../../../src/core/twin/twin.ts';
import { publishedDialect } from '../config/published.ts';
import { immediateStateFiles } from '../state/immediate-state-files.ts';
import { quietLog } from './memory-queues.ts';
import { chainsIn, memoryChains } from './message-chains.ts';
import { SimulatedFiles, seeded } from './simulated-files.ts';
import { synchronousFiles } from './synchronous-files.ts';

/** Members of the twin's configuration object, such as `{ snapshotFrequency: { value: 'PT1H' } }`. */
export type Desired = Readonly<Record<string, { readonly value: unknown }>>;

/** `deaf`: messages arrive, their acknowledgements do not. `down`: messages do not arrive. */
export type Link = 'up' | 'deaf' | 'down';

const UNREACHABLE = new HubFailure(new AgentError('HUB_UNREACHABLE', 'the hub is away', 'Wait.'), 'network');

const SENDER = { version: VERSION, id: '0b5c3f5e-93a4-4b6b-8d7c-0a1b2c3d4e5f' };

/** What takes the place of the agent's disk. */
export interface SimulatedStorage {
  readonly store: StoreFiles;
  readonly state: StateFiles;
  readonly syncEvery: Duration;
  /** Called when counts have been saved. */
  readonly saved: () => void;
}

const STATE = '/state';

const budgetOn = ({ state }: SimulatedStorage) =>
  new MessageBudget({
    file: join(STATE, 'message-units.json'),
    unitsPerDay: 2_000,
    clock: systemClock,
    log: quietLog(),
    files: state,
    changed: () => {},
  });

/**
 * The agent from its collectors to its hub, composed as `src/agent/composition/` does, with a real store. What is played: the kernel, by
 * `occurrences` and `sources`; the hub, by `link`; and the time, which is sinon's.
 */
export class SimulatedAgent {
  /** Every message that reached the hub, repeats too, with the time of its arrival. */
  readonly messages: { readonly at: number; readonly message: Message }[] = [];
  readonly queues: EventQueues;
  readonly aggregator: Aggregator;
  readonly publisher: Publisher;
  readonly snapshots: Snapshots;
  readonly triggers: Triggers;
  readonly occurrences: Occurrences;
  readonly settings: LiveSettings;
  /** Names the agent and its boot. */
  readonly origin = SENDER.id;
  readonly #directory = mkdtempSync(join(tmpdir(), 'vakt-simulated-'));
  readonly #services: readonly Service[];

  constructor(options: {
    desired?: Desired;
    routing?: Routing;
    sources: Omit<Sources, 'statistics'>;
    lookups: Lookups;
    /** Default: all. */
    collectors?: readonly Collector[];
    /** Called for each message. If omitted, the hub is always up. */
    link?: () => Link;
    /** If omitted, queues are on the real disk and everything else is in memory. */
    storage?: SimulatedStorage;
  }) {
    const { desired = {}, routing = 'telemetry', sources, lookups, link = () => 'up', storage } = options;
    const { collectors = allCollectors } = options;
    const reading = readTwin(desired, publishedDialect());
    assert.ok(reading.ok, JSON.stringify(reading));
    const settings = new LiveSettings(reading.settings);
    const log = quietLog();
    const parts = { settings, clock: systemClock, log };
    const queues = new EventQueues({
      files: synchronousFiles,
      ...parts,
      ...(storage === undefined
        ? { directory: this.#directory }
        : { directory: '/queues', files: storage.store, syncEvery: storage.syncEvery }),
    });
    const hub: HubClient = {
      send: async (message): Promise<Answer<void>> => {
        await systemClock.sleep(seconds(0.1));
        const state = link();
        if (state !== 'down') this.messages.push({ at: Date.now(), message });
        if (state === 'up') return { status: 'accepted', value: undefined };
        return { ...UNREACHABLE.answer, ...(state === 'deaf' ? { unanswered: true } : {}) } as Answer<void>;
      },
      status: () => ({ state: 'connected', credential: { kind: 'moduleKey' } }),
      on: () => {},
      readTwin: () => assert.fail('nobody asks'),
      report: () => assert.fail('nobody asks'),
    };
    const publisher: Publisher = new Publisher({
      chains: storage === undefined ? memoryChains() : chainsIn(STATE, storage.state),
      ...(storage === undefined ? {} : { budget: budgetOn(storage) }),
      queues,
      hub,
      sender: SENDER,
      routing,
      extensions: new Set(collectors.filter(({ extension }) => extension).map(({ name }) => name)),
      ...parts,
      noted: () => statistics.save(),
    });
    const statistics: Statistics = new Statistics({
      files: immediateStateFiles,
      file: join(storage === undefined ? this.#directory : STATE, 'statistics.json'),
      totals: (queue) => queues.account(queue).totals,
      sent: () => publisher.sent(),
      log,
      ...(storage === undefined ? {} : { files: storage.state }),
    });
    const aggregator = new Aggregator({
      ...parts,
      queues,
      directory: '/aggregates',
      files: storage?.store ?? new SimulatedFiles(seeded(7)), // simulated time doesn't wait for a disk
      ...(storage === undefined ? {} : { syncEvery: storage.syncEvery, saved: storage.saved }),
    });
    const snapshots = new Snapshots({
      ...parts,
      collectors,
      sources: { ...sources, statistics: statistics.source },
      queues,
      changed: () => {},
    });
    this.settings = settings;
    this.queues = queues;
    this.aggregator = aggregator;
    this.publisher = publisher;
    this.snapshots = snapshots;
    this.occurrences = new Occurrences({ collectors, lookups });
    this.triggers = new Triggers({ collectors, settings, aggregator, queues, origin: this.origin, log });
    this.occurrences.offerTo(this.triggers);
    this.#services = [queues, aggregator.recovery, publisher, aggregator, snapshots];
  }

  async start(): Promise<void> {
    await this.startWithoutSnapshots();
    await this.snapshots.start();
  }

  /** Snapshots are taken only when `snapshots.takeNow` asks for them. */
  async startWithoutSnapshots(): Promise<void> {
    for (const service of this.#services) if (service !== this.snapshots) await service.start();
  }

  /** Ends it, and removes what it has stored. */
  async stop(time: sinon.SinonFakeTimers): Promise<void> {
    for (const service of this.#services.toReversed()) {
      const stopped = service.stop();
      await time.tickAsync(seconds(12));
      await stopped;
    }
    rmSync(this.#directory, { recursive: true });
  }

  /** The envelopes that have reached the hub, those of repeated messages again. */
  envelopes(): Envelope[] {
    return this.messages.flatMap(({ message }) => (JSON.parse(message.body) as { Events: Envelope[] }).Events);
  }

  events(name: string): Envelope[] {
    return this.envelopes().filter(({ Name }) => Name === name);
  }

  /** What the hub has got since then, in milliseconds of the Unix epoch, as it bills it. */
  figures(since: number): Figures {
    const messages = this.messages.filter(({ at }) => at >= since);
    const sizes = messages.map(({ message }) => sizeOf(message));
    return {
      messages: sizes.length,
      units: sizes.reduce((all, size) => all + unitsOf(size), 0),
      bytes: sizes.reduce((all, size) => all + size, 0),
      under4KB: sizes.filter((size) => size < UNIT_BYTES).length,
    };
  }

  /**
   * Collected = delivered + aggregated away + queued + dropped, where nothing was dropped; and the hub has got what was
   * delivered, once.
   */
  assertClosed(): void {
    const { collected, delivered, aggregatedAway, dropped } = sum(
      QUEUES.map((queue) => this.queues.account(queue).totals),
    );
    const queued = QUEUES.reduce((all, queue) => all + this.queues.waiting(queue).elements, 0);
    assert.equal(collected, delivered + aggregatedAway + queued);
    assert.deepEqual(dropped, {});
    assert.ok(Object.keys(this.aggregator.pending('High')).length === 0);
    const events = this.envelopes();
    assert.equal(new Set(events.map(({ Id }) => Id)).size, events.length, 'an event came twice');
    assert.equal(
      events.reduce((all, { Category, Payload }) => all + (Category === 'Periodic' ? 1 : Payload.length), 0),
      delivered,
    );
  }
}

export interface Figures {
  readonly messages: number;
  /** Of 4 KB, as the hub bills. */
  readonly units: number;
  readonly bytes: number;
  readonly under4KB: number;
}
