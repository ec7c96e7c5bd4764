import { join } from 'node:path';
import { Alarm } from '../base/alarm.ts';
import type { Clock } from '../base/clock.ts';
import { type DropReason, sum, type Totals } from '../base/counters.ts';
import { type Duration, hours, milliseconds, seconds } from '../base/duration.ts';
import { AgentError, errnoOf, messageOf } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { keepGoing } from '../base/loop.ts';
import type { Service } from '../base/service.ts';
import { QUEUES, type QueueName } from '../contract/event.ts';
import type { SettingsReader } from '../contract/settings.ts';
import type { EventTally, OutgoingEvent, QueuedEvent } from '../contract/store.ts';
import { FallbackFiles } from './fallback-files.ts';
import { Room } from './room.ts';
import { recordSize } from './segment.ts';
import type { Medium } from './segment-folder.ts';
import { isFull, SEGMENTS_AN_AGE, SegmentLog, type SizedEvent } from './store.ts';
import { type StoreFiles, systemFiles } from './store-files.ts';

/** How long what was written may stay unsynced (contract §6). */
const SYNC_WITHIN: Readonly<Record<QueueName, Duration>> = { High: milliseconds(100), Low: seconds(1) };
/** A disk that refuses now and again is in one trouble, not in many. */
const TROUBLE_LASTS = seconds(10);
/** Above which part of their room the queues are nearly full, and below which no longer: not at every event anew. */
const NEARLY_FULL = 0.8;
const NO_LONGER_NEARLY_FULL = 0.7;
/** What the queues may take of memory while the disk cannot be written. */
const IN_MEMORY = 1024 * 1024;
/** How long the start waits for what it has written, and the end for all that is to be synced. */
const WAITS_FOR_DISK = { start: seconds(5), end: seconds(4) };
/** How often a disk that refused is tried again. */
const TRY_AGAIN_AFTER = seconds(1);

/** What can be wrong: the disk as such, or with one queue. */
type Trouble = 'disk' | QueueName;

type Queued = Totals & {
  /** Elements that wait. */
  readonly queued: number;
};

/**
 * The events that wait to be sent: two queues on disk, within one limit.
 *
 * When they are full, old ones make room, see room.ts. Events that were taken to be sent are not touched.
 *
 * Nothing that happens to the disk gets out of `put`, `drop`, `take` and `settle`: it is counted, and logged once. While
 * the disk refuses to be written, events wait in memory; when it is full, new ones are dropped.
 */
export class EventQueues implements Service {
  readonly name = 'queues';
  readonly #directory: string;
  readonly #settings: SettingsReader;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #files: FallbackFiles;
  readonly #logs: Readonly<Record<QueueName, SegmentLog>>;
  readonly #room: Room;
  /** How often it is looked for events that are too old, and their age is noted for the next run. */
  readonly #lookAfterAge: Duration;
  #lookedAt = milliseconds(0);
  readonly #obstacle: () => string | undefined;
  readonly #settled: (() => Promise<void>) | undefined;
  /** What was in memory is on its way to the disk. */
  #isReturning = false;
  readonly #changed: () => void;
  readonly #listeners: (() => void)[] = [];
  readonly #alarm = new Alarm();
  readonly #stop = new AbortController();
  readonly #syncAt: Partial<Record<QueueName, Duration>> = {};
  /** One sync of each queue at a time. The loop goes on meanwhile: a disk that hangs must not make it look hung. */
  readonly #syncing: Partial<Record<QueueName, Promise<void>>> = {};
  readonly #troubleAt: Partial<Record<Trouble, Duration>> = {};
  #medium: Medium = 'disk';
  #isNearlyFull = false;
  /** Of one spell in memory the first: each attempt to return fails at another file. */
  #reason: string | undefined;
  #triedDiskAt = milliseconds(Number.NEGATIVE_INFINITY);
  #running: Promise<void> | undefined;

  constructor(options: {
    directory: string;
    settings: SettingsReader;
    clock: Clock;
    log: Logger;
    files?: StoreFiles;
    /** Bytes that may wait in memory while the disk cannot be written. */
    memoryBytes?: number;
    /** How long an event may wait while the agent runs; see SegmentLog.expire. Without it, for ever. */
    ageLimit?: Duration;
    /** Told when `store` has changed. */
    changed?: () => void;
  }) {
    this.#directory = options.directory;
    this.#settings = options.settings;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#changed = options.changed ?? (() => {});
    const files = options.files ?? systemFiles;
    this.#files = new FallbackFiles(files);
    this.#obstacle = () => files.obstacle;
    this.#settled = files.settled?.bind(files);
    files.onTrouble?.((error) => this.#meet(error));
    const { clock, ageLimit = milliseconds(Number.POSITIVE_INFINITY) } = options;
    const log = (queue: QueueName) => {
      const segmentBytes = () => this.#room.segmentOf(queue);
      return new SegmentLog(this.#files, join(options.directory, queue.toLowerCase()), {
        segmentBytes,
        ageLimit,
        clock,
      });
    };
    this.#lookAfterAge = milliseconds(Math.min(hours(1), ageLimit / SEGMENTS_AN_AGE));
    this.#logs = { High: log('High'), Low: log('Low') };
    this.#room = new Room(this.#logs, {
      medium: () => (this.#files.refuses ? 'memory' : 'disk'),
      most: () => this.#settings.current().maxLocalCacheSizeInBytes,
      mostInMemory: options.memoryBytes ?? IN_MEMORY,
      clock: options.clock,
    });
    this.#settings.onChange(() => {
      this.#keepWithin();
      this.#sayHowItStands();
    });
  }

  /**
   * Opens both queues as an earlier run left them, and begins to sync.
   *
   * A disk that is full, failing or read-only now is no reason not to start: what is there can still be sent, and what
   * comes waits in memory unless the disk is full. Nor is one that hangs: it is waited for, but not for long.
   * @throws AgentError when the directory cannot be used at all
   */
  async start(): Promise<void> {
    for (const queue of QUEUES) {
      try {
        this.#open(queue);
      } catch (cause) {
        for (const log of Object.values(this.#logs)) log.close();
        throw this.#unusable(cause);
      }
    }
    await this.#inTime(WAITS_FOR_DISK.start, this.#settled?.());
    if (isForbidden(this.#files.refusal)) throw this.#unusable(this.#files.refusal);
    this.#keepWithin();
    this.#lookedAt = this.#clock.monotonic();
    const { signal } = this.#stop;
    this.#running = keepGoing((turnSignal) => this.#turn(turnSignal), { signal, clock: this.#clock, log: this.#log });
  }

  /** Waits four seconds at most until what it has written is synced. */
  async stop(): Promise<void> {
    if (this.#stop.signal.aborted) return;
    this.#stop.abort();
    await this.#running;
    if (this.#running !== undefined) {
      this.#lookForAge();
      this.#returnToDisk();
      await this.#inTime(WAITS_FOR_DISK.end, Promise.all(QUEUES.map((queue) => this.#syncLast(queue))));
      this.#sayWhatIsLost();
    }
    for (const queue of QUEUES) this.#logs[queue].close();
  }

  /**
   * Takes events in. Synchronous: on return they are written, though not yet synced, or counted as dropped.
   *
   * @returns how many were written
   */
  put(queue: QueueName, events: readonly OutgoingEvent[]): number {
    const sized = events.map((event): SizedEvent => {
      const jsonBytes = Buffer.byteLength(event.json);
      return { event, jsonBytes, recordBytes: recordSize(event.name, jsonBytes) };
    });
    const room = this.#room.for(queue, size(sized));
    const { newest, others } = newestWithin(room, sized);
    this.#lose(queue, others, 'cacheFull');
    let error: unknown;
    let stored = 0;
    for (let at = 0; at < newest.length; ) {
      const batch = this.#logs[queue].fitting(newest, at, room);
      at += batch.length;
      if (!this.#room.make(queue, size(batch))) {
        this.#lose(queue, batch, 'cacheFull');
        continue;
      }
      const refused = this.#append(queue, batch);
      if (refused === undefined) stored += batch.length;
      else this.#lose(queue, batch, 'unwritable');
      error ??= refused;
    }
    this.#syncWithin(queue, SYNC_WITHIN[queue]);
    if (events.length > 0) this.#say(queue, error); // last: a log line may come back as an event
    this.#sayHowItStands();
    if (stored > 0) for (const listener of this.#listeners) listener();
    return stored;
  }

  /** Counts events that never reached the queue: as collected, and as dropped. On disk within about a second. */
  drop(queue: QueueName, name: string, reason: DropReason, count: number): void {
    this.#logs[queue].lose({ name, reason, elements: count, occurrences: count });
    this.#syncWithin(queue, seconds(1));
  }

  /**
   * The oldest events whose JSON, and a byte for each, fit into `roomBytes`. With `atLeastOne` the first, even if it
   * alone does not fit. They are safe from eviction until settled; when there are none, there is nothing to settle.
   *
   * @throws Error when events of this queue are taken already
   */
  take(queue: QueueName, roomBytes: number, atLeastOne: boolean): readonly QueuedEvent[] {
    const log = this.#logs[queue];
    try {
      const taken = log.take(roomBytes, atLeastOne);
      if (log.owes) this.#syncWithin(queue, seconds(1));
      return taken;
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      this.#say(queue, error);
      return [];
    }
  }

  /**
   * Says what became of the taken events: `delivered` or the reason for their loss removes them, `kept` leaves them at
   * the head of the queue.
   *
   * @param only the positions that this concerns; the other events that were taken are kept
   * @throws Error when none are taken
   */
  settle(queue: QueueName, outcome: 'delivered' | 'kept' | DropReason, only?: ReadonlySet<number>): void {
    const error = this.#logs[queue].settle(outcome, only);
    this.#keepWithin();
    this.#syncWithin(queue, seconds(1));
    if (error !== undefined) this.#say(queue, error);
    this.#sayHowItStands();
  }

  /** What waits, taken events included. `bytes` are those of the events' JSON. */
  waiting(queue: QueueName): { events: number; elements: number; bytes: number } {
    return this.#logs[queue].waiting();
  }

  /** The books of a queue since it was made: collected = delivered + aggregatedAway + dropped + queued, at any moment. */
  account(queue: QueueName): { byEvent: Record<string, Queued>; totals: Queued } {
    const log = this.#logs[queue];
    const queued = log.queued();
    const rows = Object.entries(log.account().byEvent());
    return {
      byEvent: Object.fromEntries(rows.map(([name, row]) => [name, { ...row, queued: queued.get(name) ?? 0 }])),
      totals: { ...sum(rows.map(([, row]) => row)), queued: log.waiting().elements },
    };
  }

  /** The position that the next event will have; up to which position all events outlast a power cut. */
  positions(queue: QueueName): { readonly next: number; readonly lasting: number } {
    return this.#logs[queue].positions;
  }

  /** Where new events go, why when that is not the disk, and whether old ones will soon have to go for them. */
  store(): { readonly place: Medium; readonly reason?: string; readonly isNearlyFull: boolean } {
    const isNearlyFull = this.#isNearlyFull;
    if (this.#files.refuses || this.#isReturning)
      return { place: 'memory', reason: this.#reason ?? messageOf(this.#files.refusal), isNearlyFull };
    const reason = this.#obstacle();
    return reason === undefined ? { place: 'disk', isNearlyFull } : { place: 'memory', reason, isNearlyFull };
  }

  /** Whether new events are only in memory, so that a kill would lose them. */
  get isInMemory(): boolean {
    return this.#files.refuses || this.#isReturning;
  }

  /** A change has failed that was taken before: what it concerns waits in memory, and new events do. */
  #meet(error: unknown): void {
    if (isFull(error)) {
      for (const log of [this.#logs.Low, this.#logs.High]) log.free(true);
    } else this.#files.refuse(error);
    this.#sayHowItStands();
    this.#alarm.ring();
  }

  /** Called after events were taken in, from within `put`. */
  onPut(listener: () => void): void {
    this.#listeners.push(listener);
  }

  #open(queue: QueueName): void {
    const { found, error } = this.#logs[queue].open();
    const { events } = this.#logs[queue].waiting();
    const { refusal } = this.#files;
    if (isForbidden(refusal)) throw refusal;
    this.#log.debug({ queue, events }, 'Opened a queue.');
    if (found.keptAside.length > 0)
      this.#log.warn({ queue, files: found.keptAside }, 'Left files alone that this version cannot read.');
    if (found.corrupt > 0)
      this.#log.error({ queue, events, lost: found.corrupt }, 'Found a queue damaged; the rest of it is safe.');
    this.#syncWithin(queue, SYNC_WITHIN[queue]);
    if (error !== undefined) this.#say(queue, error);
    this.#sayHowItStands();
  }

  #unusable(cause: unknown): AgentError {
    const what = `cannot use ${this.#directory}: ${messageOf(cause)}`;
    return ['EACCES', 'EPERM', 'EROFS', 'ENOENT', 'ENOTDIR', 'EEXIST'].includes(errnoOf(cause) ?? '')
      ? new AgentError(
          'STATE_DIRECTORY_UNUSABLE',
          what,
          'Give the agent a directory that it may write to, see stateDirectory.',
          { cause },
        )
      : new AgentError(
          'STORE_UNUSABLE',
          what,
          `Check the disk; if the queues cannot be saved, move ${this.#directory} away.`,
          { cause },
        );
  }

  /** A full disk is where High may take Low's room although the limit would allow for both. */
  #append(queue: QueueName, batch: readonly SizedEvent[]): unknown {
    const error = this.#logs[queue].append(batch);
    const evicts = queue === 'High' && isFull(error) && this.#logs.Low.evict('disk', true);
    return evicts ? this.#logs.High.append(batch) : error;
  }

  #lose(queue: QueueName, events: readonly SizedEvent[], reason: DropReason): void {
    for (const { event } of events) {
      const { name, elements, occurrences }: EventTally = event;
      this.#logs[queue].lose({ name, elements, occurrences, reason });
    }
  }

  /** After a change of the limit, or after checkpoints have grown into the reserve. */
  #keepWithin(): void {
    if (this.#room.keepWithin()) for (const queue of QUEUES) this.#syncWithin(queue, seconds(1));
  }

  #syncWithin(queue: QueueName, wait: Duration): void {
    if (!this.#logs[queue].needsSync && !this.#logs[queue].owes) return;
    const at = milliseconds(this.#clock.monotonic() + wait);
    if ((this.#syncAt[queue] ?? Number.POSITIVE_INFINITY) <= at) return;
    this.#syncAt[queue] = at;
    this.#alarm.ring();
  }

  async #turn(signal: AbortSignal): Promise<void> {
    const now = this.#clock.monotonic();
    if (now - this.#lookedAt >= this.#lookAfterAge) this.#lookForAge();
    let wait: number = this.#lookedAt + this.#lookAfterAge - now;
    if (this.#files.refuses && now - this.#triedDiskAt >= TRY_AGAIN_AFTER) this.#returnToDisk();
    for (const queue of QUEUES) {
      const left = (this.#syncAt[queue] ?? Number.POSITIVE_INFINITY) - now;
      if (left <= 0) this.#beginSync(queue);
      wait = Math.min(wait, (this.#syncAt[queue] ?? Number.POSITIVE_INFINITY) - now);
    }
    for (const what of Object.keys(this.#troubleAt) as Trouble[]) {
      if (what === 'disk') this.#sayHowItStands();
      else this.#say(what, undefined);
      wait = Math.min(wait, TROUBLE_LASTS);
    }
    await this.#alarm.sleep(this.#clock, milliseconds(Math.max(0, wait)), signal);
  }

  /** What is owed is written also while a sync hangs. */
  #beginSync(queue: QueueName): void {
    delete this.#syncAt[queue];
    this.#flush(queue);
    if (this.#syncing[queue] === undefined) this.#syncing[queue] = this.#sync(queue);
    else this.#syncWithin(queue, seconds(1));
  }

  #flush(queue: QueueName): void {
    const error = this.#logs[queue].flush();
    if (error !== undefined) this.#say(queue, error);
  }

  async #sync(queue: QueueName): Promise<void> {
    let error: unknown;
    try {
      await this.#logs[queue].sync();
    } catch (cannotSync) {
      error = cannotSync;
    }
    delete this.#syncing[queue];
    this.#syncWithin(queue, seconds(1)); // for what could not be done, or came meanwhile
    this.#say(queue, error);
    this.#sayHowItStands();
  }

  /** Writes all at once, whatever is still being synced. */
  async #syncLast(queue: QueueName): Promise<void> {
    this.#flush(queue);
    await this.#syncing[queue];
    await this.#sync(queue);
  }

  async #inTime(limit: Duration, work: Promise<unknown> | undefined): Promise<void> {
    if (work !== undefined) await this.#clock.within(limit, 'Writing the queues', work).catch(() => {});
  }

  #lookForAge(): void {
    this.#lookedAt = this.#clock.monotonic();
    for (const queue of QUEUES) {
      this.#logs[queue].expire();
      this.#logs[queue].noteTime();
      this.#syncWithin(queue, seconds(1));
    }
  }

  /** Moves what is in memory to the disk, should that take it. High first: on a full disk it may have Low's room. */
  #returnToDisk(): void {
    if (!this.#files.refuses) return;
    this.#triedDiskAt = this.#clock.monotonic();
    const { High, Low } = this.#logs;
    const makesRoom = () => High.free(true) || Low.free(true) || Low.evict('disk', true);
    for (const log of [High, Low]) {
      let error = log.moveToDisk();
      if (isFull(error) && makesRoom()) error = log.moveToDisk();
      if (error !== undefined) return;
    }
    this.#files.accept();
    this.#isReturning = this.#settled !== undefined;
    void this.#settled?.().then(() => {
      this.#isReturning = false;
      this.#sayHowItStands();
    });
    for (const queue of QUEUES) {
      this.#logs[queue].flush();
      this.#syncWithin(queue, SYNC_WITHIN[queue]);
    }
    this.#keepWithin();
  }

  #sayHowItStands(): void {
    const { place, reason } = this.store();
    this.#reason = this.isInMemory ? reason : undefined;
    const trouble = this.#files.refusal ?? (place === 'memory' ? new Error(reason) : undefined);
    if (place === 'memory' || this.#troubleAt.disk !== undefined) this.#say('disk', trouble);
    const { fill } = this.#room;
    const isNearlyFull = fill > (this.#isNearlyFull ? NO_LONGER_NEARLY_FULL : NEARLY_FULL);
    if (place === this.#medium && isNearlyFull === this.#isNearlyFull) return;
    this.#medium = place;
    this.#isNearlyFull = isNearlyFull;
    this.#changed();
  }

  /** Says once that something is wrong, and once that it no longer is. */
  #say(what: Trouble, error: unknown): void {
    const now = this.#clock.monotonic();
    const since = this.#troubleAt[what];
    const about = what === 'disk' ? {} : { queue: what };
    if (error !== undefined) {
      this.#troubleAt[what] = now;
      if (since === undefined)
        this.#log.error({ ...about, err: error }, SAID[what === 'disk' ? 'disk' : 'queue'].wrong);
    } else if (since !== undefined && now - since >= TROUBLE_LASTS) {
      delete this.#troubleAt[what];
      this.#log.info(about, SAID[what === 'disk' ? 'disk' : 'queue'].mended);
    }
  }

  #sayWhatIsLost(): void {
    const lost = QUEUES.map((queue) => this.#logs[queue].eventsInMemory).reduce((all, events) => all + events, 0);
    if (lost > 0) this.#log.error({ events: lost }, 'Could not write what waited in memory; it is lost.');
  }
}

const SAID = {
  disk: {
    wrong: 'Cannot write to the disk; new events wait in memory, and are lost if the agent ends before it can.',
    mended: 'Can write to the disk again; what waited in memory is there.',
  },
  queue: {
    wrong: 'Cannot write a queue; new events are dropped and counted.',
    mended: 'Can write the queue again.',
  },
} as const;

const isForbidden = (error: unknown): boolean => ['EACCES', 'EPERM'].includes(errnoOf(error) ?? '');

const size = (events: readonly SizedEvent[]) => events.reduce((all, { recordBytes }) => all + recordBytes, 0);

/** Those that would be left if all were put one by one into a queue of that room. */
function newestWithin(room: number, events: readonly SizedEvent[]) {
  const newest: SizedEvent[] = [];
  const others: SizedEvent[] = [];
  let left = room;
  for (const event of events.toReversed()) {
    const fits = event.recordBytes <= left;
    if (fits) left -= event.recordBytes;
    else if (event.recordBytes <= room) left = 0; // older ones would have gone before it
    (fits ? newest : others).push(event);
  }
  return { newest: newest.reverse(), others: others.reverse() };
}
