import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AppendFile, StoreFiles } from '../../../src/agent/pipeline/store-files.ts';
import { droppedIn } from '../../../src/core/base/counters.ts';
import { type Duration, seconds } from '../../../src/core/base/duration.ts';
import { QUEUES, type QueueName } from '../../../src/core/contract/event.ts';
import type { OutgoingEvent, QueuedEvent } from '../../../src/core/contract/store.ts';
import { modelRuns } from '../../fuzz.ts';
import { assertClosed, contents, event, type Fixture, fixture, jsonOf } from './queue-fixture.ts';
import { type Operation, SimulatedFiles, seeded } from './simulated-files.ts';
import { synchronousFiles } from './synchronous-files.ts';

const RUNS = 2_100;
const STEPS = 25;
const NAMES = ['ProcessCreate', 'Login', 'ListeningPorts'];

interface World {
  /** The process dies in the middle of operations, and between them. */
  readonly kills: boolean;
  readonly powerCuts: boolean;
  readonly faults: boolean;
  /** The disk cannot be written for steps on end. */
  readonly refuses?: boolean;
  readonly ageLimit?: Duration;
  readonly limit: number;
  /** On the file system of this machine. */
  readonly real?: boolean;
}

/** What a run may meet; each is drawn with every seed. */
const WORLDS: Readonly<Record<string, World>> = {
  'with room for all': { kills: true, powerCuts: false, faults: false, limit: 4_000_000 },
  'always full': { kills: true, powerCuts: false, faults: false, limit: 8_192 },
  'of changing room': { kills: true, powerCuts: false, faults: false, limit: 40_000 },
  'with power cuts': { kills: true, powerCuts: true, faults: false, limit: 40_000 },
  'on a bad disk': { kills: true, powerCuts: false, faults: true, limit: 12_000 },
  'where everything goes wrong': { kills: true, powerCuts: true, faults: true, limit: 40_000 },
  'where the disk refuses for a while': {
    kills: true,
    powerCuts: false,
    faults: false,
    refuses: true,
    limit: 4_000_000,
  },
  'where the disk refuses, and is full': {
    kills: false,
    powerCuts: false,
    faults: false,
    refuses: true,
    limit: 20_000,
  },
  'where events grow old': { kills: true, powerCuts: false, faults: false, limit: 4_000_000, ageLimit: seconds(4) },
  'of real files': { kills: false, powerCuts: false, faults: false, limit: 40_000, real: true },
};

/** The expected state of a queue. */
class Model {
  /** In the queue, as far as anyone can know. */
  waiting: OutgoingEvent[] = [];
  /** Waited when it was last looked, and nothing was taken since. */
  waited = new Set<string>();
  taken: readonly QueuedEvent[] = [];
  collected = 0;
  delivered = 0;
  dropped = 0;
  /** The part that was lost in power cuts. */
  corrupt = 0;
  /** Events that survive a power cut. */
  synced = new Set<string>();
  collectedAtSync = 0;
  /** Events put, settled or evicted while events went into memory: a kill may lose or bring back only these. */
  readonly putInMemory = new Set<string>();
  readonly settledInMemory: OutgoingEvent[] = [];
  /** Everything that was ever put, so that nothing else can come out. */
  readonly ever = new Set<string>();
}

const total = (events: readonly OutgoingEvent[], of: 'elements' | 'occurrences') =>
  events.reduce((all, one) => all + one[of], 0);

const numberOf = ({ json }: OutgoingEvent) => (JSON.parse(json) as { n: number }).n;
/** As they were put: each has a number of its own. */
const inOrder = (events: readonly OutgoingEvent[]) => [...events].sort((a, b) => numberOf(a) - numberOf(b));

class Run {
  readonly #world: World;
  readonly #random: () => number;
  readonly #files: SimulatedFiles;
  readonly #folder: string;
  /** Open files of a real process, which the kernel closes when it is killed. */
  readonly #opened: AppendFile[] = [];
  readonly #realFiles: StoreFiles = {
    ...synchronousFiles,
    create: (path) => {
      const file = synchronousFiles.create(path);
      this.#opened.push(file);
      return file;
    },
  };
  readonly #models: Record<QueueName, Model> = { High: new Model(), Low: new Model() };
  #now!: Fixture;
  #beingSettled: readonly QueuedEvent[] = [];
  #refusal: SimulatedFiles['fault'] = () => undefined;
  /** How long there was an agent, and how much of it had passed when each event was put. */
  #ran = 0;
  readonly #putAt = new Map<string, number>();

  constructor(world: World, seed: number) {
    this.#world = world;
    this.#random = seeded(seed);
    this.#files = new SimulatedFiles(this.#random);
    this.#folder = world.real ? mkdtempSync(join(tmpdir(), 'vakt-store-')) : '/q';
  }

  async play(): Promise<void> {
    await this.#reopen();
    for (let step = 0; step < STEPS; step += 1) {
      if (this.#world.kills && this.#chance(0.08)) this.#files.dieAfter = this.#int(4);
      this.#setFaults();
      if (this.#world.refuses && this.#chance(0.2)) this.#setRefusal();
      const queue = this.#chance(0.5) ? 'High' : 'Low';
      const pending = await this.#step(queue);
      const inOperation = this.#files.dead;
      this.#clearFaults();
      this.#noteWhatIsOnDisk();
      if (!inOperation) this.#check();
      if (this.#world.powerCuts && this.#chance(0.05)) {
        this.#files.cutPower();
        await this.#comeBack(pending, inOperation ? 'power cut in an operation' : 'power cut');
      } else if (inOperation || this.#chance(0.05))
        await this.#comeBack(pending, inOperation ? 'kill in an operation' : 'kill');
    }
    this.#check();
    this.#refusal = () => undefined;
    this.#clearFaults();
    await this.#now.queues.stop();
    for (const model of Object.values(this.#models)) model.taken = [];
    await this.#reopen(this.#now.settings.limit);
    this.#check();
    await this.#now.queues.stop();
    if (this.#world.real) rmSync(this.#folder, { recursive: true });
  }

  /** @returns the events that were being put, should the process have died of it */
  async #step(queue: QueueName): Promise<Partial<Record<QueueName, OutgoingEvent[]>>> {
    const { queues, settings, clock } = this.#now;
    const model = this.#models[queue];
    const kind = this.#int(10);
    this.#beingSettled = [];
    if (kind < 4) {
      const batch = Array.from({ length: 1 + this.#int(6) }, () => this.#event());
      for (const { json } of batch) model.ever.add(json);
      for (const { json } of batch) this.#putAt.set(json, this.#ran);
      if (this.#world.refuses) for (const { json } of batch) model.putInMemory.add(json);
      const high = queue === 'Low' ? jsonOf(this.#models.High.waiting) : [];
      queues.put(queue, batch);
      if (this.#files.dead) return { [queue]: batch };
      model.collected += total(batch, 'occurrences');
      model.waiting.push(...batch);
      if (queue === 'Low' && this.#models.High.taken.length === 0) {
        this.#clearFaults();
        assert.deepEqual(jsonOf(contents(queues, 'High')), high, 'Low took room from High');
      }
    } else if (kind === 4) {
      const count = 1 + this.#int(5);
      queues.drop(queue, 'Login', 'malformed', count);
      model.collected += count;
      model.dropped += count;
    } else if (kind < 7 && model.taken.length === 0) {
      const names = this.#chance(0.3) ? new Set([this.#pick(NAMES)]) : undefined;
      model.taken = queues.take(queue, this.#int(3_000), this.#chance(0.7), { names });
      assert.ok(model.taken.every(({ name }) => names?.has(name) ?? true));
      assert.deepEqual(
        jsonOf(model.taken),
        jsonOf(model.waiting).filter((json) => model.taken.some((taken) => taken.json === json)),
      );
    } else if (kind < 8 && model.taken.length > 0) {
      const outcome = this.#pick(['delivered', 'delivered', 'kept', 'refused'] as const);
      const some = this.#chance(0.3) ? model.taken.filter(() => this.#chance(0.5)) : undefined;
      const taken = some ?? model.taken;
      model.taken = [];
      this.#beingSettled = taken;
      if (this.#world.refuses && outcome !== 'kept') model.settledInMemory.push(...taken);
      queues.settle(queue, outcome, some && new Set(some.map(({ position }) => position)));
      if (this.#files.dead || outcome === 'kept') return {};
      const gone = new Set(jsonOf(taken));
      model.waiting = model.waiting.filter(({ json }) => !gone.has(json));
      if (outcome === 'delivered') model.delivered += total(taken, 'elements');
      else model.dropped += total(taken, 'elements');
    } else if (kind === 8) {
      for (let i = 0; i < 3; i += 1) {
        this.#ran += 1_100;
        await clock.advance(1_100);
      }
      if (this.#world.faults || this.#files.dead) return {};
      for (const each of Object.values(this.#models)) {
        each.synced = new Set(jsonOf(each.waiting));
        each.collectedAtSync = each.collected;
      }
    } else if (this.#world.limit < 100_000) {
      settings.setLimit(this.#pick([8_192, 20_000, this.#world.limit]));
    }
    return {};
  }

  /** Compares the queues with the expected state. Missing events must have been counted. */
  #check(): void {
    const { queues, settings } = this.#now;
    settings.setLimit(settings.limit); // what a fault kept from being evicted goes now
    assertClosed(queues);
    let pinned = false;
    for (const queue of QUEUES) {
      const model = this.#models[queue];
      pinned ||= model.taken.length > 0;
      if (model.taken.length === 0) {
        const found = contents(queues, queue);
        const lost = this.#missing(model.waiting, found);
        model.dropped += total(lost, 'elements');
        this.#checkAge(lost);
        this.#checkOrder(model, lost);
        if (this.#world.refuses) model.settledInMemory.push(...lost);
        model.waiting = [...found];
        model.waited = new Set(jsonOf(found));
      } else {
        assert.ok(queues.waiting(queue).elements >= total(model.taken, 'elements'), 'evicted what was taken');
        model.waited.clear();
      }
      const { totals } = queues.account(queue);
      assert.equal(totals.collected, model.collected, `${queue} collected`);
      assert.equal(totals.delivered, model.delivered, `${queue} delivered`);
      if (model.taken.length === 0) {
        assert.equal(droppedIn(totals), model.dropped, `${queue} dropped`);
        assert.equal(queues.waiting(queue).events, model.waiting.length);
        const bytes = model.waiting.reduce((all, { json }) => all + Buffer.byteLength(json), 0);
        assert.equal(queues.waiting(queue).bytes, bytes);
      }
    }
    const canBeFreed = this.#refusal('remove', '') === undefined && queues.store().place === 'disk';
    if (!this.#world.faults && !pinned && canBeFreed) {
      const onDisk = this.#world.real
        ? QUEUES.flatMap((queue) => synchronousFiles.list(join(this.#folder, queue.toLowerCase())))
            .map(({ size = 0 }) => size)
            .reduce((all, size) => all + size, 0)
        : [...this.#files.files.values()].reduce((all, { data }) => all + data.length, 0);
      assert.ok(onDisk <= settings.limit, `${onDisk} bytes on disk, limit ${settings.limit}`);
    }
  }

  /** The oldest goes first. What is in memory goes before what is on a disk that nothing can be deleted from. */
  #checkOrder({ waiting, waited }: Model, lost: readonly OutgoingEvent[]): void {
    if (this.#world.faults || this.#world.powerCuts || this.#world.refuses) return;
    const gone = new Set(jsonOf(lost));
    const stays = waiting.filter(({ json }) => waited.has(json) && !gone.has(json)).map(numberOf);
    const oldest = Math.min(...stays);
    for (const one of lost) if (waited.has(one.json)) assert.ok(numberOf(one) < oldest, 'an older one stayed');
  }

  /** Where there is room for all, nothing goes before its time. */
  #checkAge(lost: readonly OutgoingEvent[]): void {
    const { limit, faults, powerCuts } = this.#world;
    if (limit < 1_000_000 || faults || powerCuts) return;
    for (const one of lost) assert.ok(this.#isOld(one), 'dropped before its time');
  }

  #isOld({ json }: OutgoingEvent): boolean {
    const { ageLimit = Number.POSITIVE_INFINITY } = this.#world;
    return this.#ran - (this.#putAt.get(json) ?? 0) >= ageLimit;
  }

  /** The process was killed; the next one must find every event that was acknowledged as stored. */
  async #comeBack(
    pending: Partial<Record<QueueName, OutgoingEvent[]>>,
    how: 'kill' | 'kill in an operation' | 'power cut' | 'power cut in an operation',
  ): Promise<void> {
    this.#clearFaults();
    await this.#abandon();
    this.#files.restart();
    const { limit } = this.#now.settings;
    await this.#reopen(limit + 100_000); // nothing shall go because of the new segments' heads
    const { queues, settings } = this.#now;
    assertClosed(queues);
    for (const queue of QUEUES) {
      const model = this.#models[queue];
      const found = contents(queues, queue);
      const all = new Set(jsonOf(found));
      const { totals } = queues.account(queue);
      assert.equal(all.size, found.length, 'an event twice');
      for (const json of all) assert.ok(model.ever.has(json), 'an event that nobody put');
      for (const [i, { position }] of found.entries()) assert.ok(position > (found[i - 1]?.position ?? -1));
      const atMost = model.collected + total(pending[queue] ?? [], 'occurrences');
      if (!how.startsWith('power')) assert.ok(totals.collected <= atMost, 'collected more than there was');
      if (!this.#world.faults) {
        if (how.startsWith('kill')) this.#checkAfterKill(queue, found, pending[queue] ?? [], how === 'kill');
        else assert.ok(totals.collected >= model.collectedAtSync, 'a power cut took the books');
        if (how === 'power cut' && model.taken.length === 0) {
          for (const { json } of model.waiting)
            assert.ok(all.has(json) || !model.synced.has(json), 'lost what was synced');
        }
      }
      model.waiting = [...found];
      model.taken = [];
      model.putInMemory.clear();
      model.settledInMemory.length = 0;
      model.synced = new Set();
      model.collectedAtSync = 0;
      model.collected = totals.collected;
      model.delivered = totals.delivered;
      model.dropped = droppedIn(totals);
      model.corrupt = totals.dropped.corrupt ?? 0;
    }
    settings.setLimit(limit);
    this.#check();
  }

  #checkAfterKill(queue: QueueName, found: readonly QueuedEvent[], put: readonly OutgoingEvent[], between: boolean) {
    const model = this.#models[queue];
    const { totals } = this.#now.queues.account(queue);
    const mayEvictUnbooked = this.#world.refuses && this.#world.limit < 1_000_000;
    if (!mayEvictUnbooked) assert.equal(totals.dropped.corrupt ?? 0, model.corrupt, 'a kill was taken for damage');
    const there = new Set(jsonOf(found));
    const known = new Set(jsonOf([...model.waiting, ...put]));
    const back = model.settledInMemory.filter(({ json }) => there.has(json) && !known.has(json));
    const lost = this.#missing(inOrder([...back, ...model.waiting, ...put]), found);
    const allowed = new Set([...model.putInMemory, ...jsonOf(between ? [] : [...put, ...this.#beingSettled])]);
    if (model.taken.length === 0 && (between || this.#world.limit > 1_000_000))
      for (const one of lost) assert.ok(allowed.has(one.json) || this.#isOld(one), 'lost an event');
  }

  #missing(expected: readonly OutgoingEvent[], found: readonly OutgoingEvent[]): OutgoingEvent[] {
    const there = new Set(jsonOf(found));
    const kept = expected.filter(({ json }) => there.has(json));
    assert.deepEqual(jsonOf(found), jsonOf(kept), 'out of order, or changed, or not from here');
    return expected.filter(({ json }) => !there.has(json));
  }

  async #reopen(limit = this.#world.limit): Promise<void> {
    const files = this.#world.real ? this.#realFiles : this.#files;
    this.#now = fixture(files, this.#folder, limit, this.#world.ageLimit);
    await this.#now.queues.start();
  }

  async #abandon(): Promise<void> {
    if (this.#world.real) {
      for (const file of this.#opened.splice(0)) file.close();
      return; // the old object is dropped without a stop, as in a killed process
    }
    this.#files.dieAfter = 0; // none of its last writes may reach the disk
    const silent = this.#files.fault;
    this.#files.fault = () => 'EIO';
    const { bytesWritten } = this.#files;
    const before = new Map([...this.#files.files].map(([path, file]) => [path, { ...file }]));
    await this.#now.queues.stop();
    this.#files.files.clear();
    for (const [path, file] of before) this.#files.files.set(path, file);
    this.#files.bytesWritten = bytesWritten;
    this.#files.fault = silent;
  }

  #setFaults(): void {
    if (!this.#world.faults || !this.#chance(0.3)) return;
    const errno = this.#pick(['ENOSPC', 'EIO', 'EROFS']);
    const likely = this.#pick([0.2, 0.6, 1]);
    const of = new Set<Operation>(
      this.#pick<Operation[]>([
        ['append'],
        ['create', 'append'],
        ['append', 'truncate'],
        ['append', 'truncate', 'remove', 'create'],
        ['remove'],
        ['sync', 'syncNow'],
      ]),
    );
    this.#files.fault = (operation) => (of.has(operation) && this.#chance(likely) ? errno : undefined);
    if (this.#chance(0.3)) this.#files.capacity = this.#int(12_000);
  }

  /** The disk begins to refuse, or ceases to. */
  #setRefusal(): void {
    const errno = this.#pick(['EROFS', 'EIO', 'EMFILE', 'ENOENT']);
    const of = this.#pick<readonly Operation[]>([
      [],
      ['append'],
      ['create', 'append'],
      ['create', 'append', 'truncate', 'remove'],
    ]);
    this.#refusal = (operation) => (of.includes(operation) ? errno : undefined);
    this.#clearFaults();
  }

  /** Marks all events as durable. */
  #noteWhatIsOnDisk(): void {
    if (this.#files.dead || this.#now.queues.store().place === 'memory') return;
    for (const model of Object.values(this.#models)) {
      model.putInMemory.clear();
      model.settledInMemory.length = 0;
    }
  }

  #clearFaults(): void {
    this.#files.fault = this.#refusal;
    this.#files.capacity = Number.POSITIVE_INFINITY;
    if (!this.#files.dead) this.#files.dieAfter = Number.POSITIVE_INFINITY;
  }

  #event(): OutgoingEvent {
    const elements = 1 + this.#int(3);
    const name = this.#pick(NAMES);
    return event(30 + this.#int(this.#pick([100, 500, 3_000])), name, elements, elements + this.#int(10));
  }

  #chance(p: number): boolean {
    return this.#random() < p;
  }

  #int(below: number): number {
    return Math.floor(this.#random() * below);
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.#int(from.length)] as T;
  }
}

describe('the store, against a model', function () {
  this.timeout(120_000);
  const only = process.env.SEED === undefined ? undefined : Number(process.env.SEED);
  const runs = Math.ceil(modelRuns(RUNS) / Object.keys(WORLDS).length);

  for (const [what, world] of Object.entries(WORLDS)) {
    it(`holds in a world ${what}`, async () => {
      const last = world.real ? Math.ceil(runs / 10) : runs;
      for (let seed = only ?? 1; seed <= (only ?? last); seed += 1) {
        try {
          await new Run(world, seed).play();
        } catch (error) {
          throw new Error(`SEED=${seed}: ${(error as Error).message}`, { cause: error });
        }
      }
    });
  }
});
