import { join } from 'node:path';
import type { Clock } from '../../core/base/clock.ts';
import { type DropReason, sum, type Totals } from '../../core/base/counters.ts';
import { type Duration, hours, LONG_AGO, milliseconds, NEVER, seconds } from '../../core/base/duration.ts';
import { AgentError, errnoOf, messageOf } from '../../core/base/errors.ts';
import type { Logger } from '../../core/base/log.ts';
import { keepGoing } from '../../core/base/loop.ts';
import type { Service } from '../../core/base/service.ts';
import { Alarm } from '../../core/base/waiting.ts';
import { QUEUES, type QueueName } from '../../core/contract/event.ts';
import type { SettingsReader } from '../../core/contract/settings.ts';
import type { EventTally, OutgoingEvent, QueuedEvent } from '../../core/contract/store.ts';
import { isFull } from '../state/background-writer.ts';
import { FallbackFiles } from './fallback-files.ts';
import type { Medium } from './log-folder.ts';
import { QueueSpace } from './queue-space.ts';
import { recordSize } from './segment.ts';
import { type EventFilter, SEGMENTS_AN_AGE, SegmentLog, type SizedEvent } from './store.ts';
import type { StoreFiles } from './store-files.ts';

/** Maximum time from a High event's write to its sync (contract §6). */
const SYNC_HIGH_WITHIN = milliseconds(100);
/** The same for Low events and for what has become of events, unless `syncEvery` says otherwise. */
const SYNC_WITHIN = seconds(1);
/** Errors at shorter intervals than this are one problem, which is logged once. */
const TROUBLE_LASTS = seconds(10);
/** Shares of the size limit at which "nearly full" begins and ends. They differ, so that it doesn't flap. */
const NEARLY_FULL = 0.8;
const NO_LONGER_NEARLY_FULL = 0.7;
/** Memory limit of the queues while the disk cannot be written. */
const IN_MEMORY = 1024 * 1024;
/** How long start waits for its writes, and stop for the last sync. */
const WAITS_FOR_DISK = { start: seconds(5), end: seconds(4) };
/** How often writing to a failed disk is retried. */
const TRY_AGAIN_AFTER = seconds(1);

/** Minimum time between two log lines about users who exceed their share of a queue. */
const REMIND_EVERY = hours(1);

/** What an error concerns: the disk as a whole, or one queue. */
type FailingPart = 'disk' | QueueName;

type Queued = Totals & {
  /** Elements in the queue. */
  readonly queued: number;
};

/**
 * The events that wait to be sent: two queues on disk, within one limit.
 *
 * When the limit is reached, old events are evicted, see queue-space.ts; never those that were taken to be sent. A user's
 * events beyond their share are not stored, so that they evict no others.
 *
 * `put`, `drop`, `take` and `settle` never throw a disk error: lost events are counted, and the problem is logged once.
 * While the disk cannot be written, new events are kept in memory; when it is full, they are dropped.
 */
export class EventQueues implements Service {
  readonly name = 'queues';
  readonly #directory: string;
  readonly #settings: SettingsReader;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #files: FallbackFiles;
  readonly #logs: Readonly<Record<QueueName, SegmentLog>>;
  readonly #space: QueueSpace;
  readonly #syncEvery: Duration;
  /** How often expired events are dropped, and the age of the others is saved for the next run. */
  readonly #lookAfterAge: Duration;
  #lookedAt = milliseconds(0);
  readonly #blockedReason: () => string | undefined;
  readonly #settled: (() => Promise<void>) | undefined;
  /** Segments from memory are being written to the disk. */
  #isReturning = false;
  readonly #changed: () => void;
  readonly #counted: () => void;
  readonly #damaged: string[] = [];
  readonly #listeners: (() => void)[] = [];
  readonly #alarm = new Alarm();
  readonly #stop = new AbortController();
  readonly #syncAt: Partial<Record<QueueName, Duration>> = {};
  /** At most one sync per queue. The loop doesn't await it: a hung disk must not make the watchdog kill the agent. */
  readonly #syncing: Partial<Record<QueueName, Promise<void>>> = {};
  /** When a user who exceeded their share was logged last. */
  readonly #refusedAt: Partial<Record<QueueName, Duration>> = {};
  readonly #failingSince: Partial<Record<FailingPart, Duration>> = {};
  #medium: Medium = 'disk';
  #isNearlyFull = false;
  /** Queues whose events were dropped for want of space, and of which none has been delivered since. */
  readonly #overflowed = new Set<QueueName>();
  /** The first error since events are kept in memory. Later attempts to use the disk may fail at other files. */
  #reason: string | undefined;
  #triedDiskAt = LONG_AGO;
  #running: Promise<void> | undefined;

  constructor(options: {
    directory: string;
    settings: SettingsReader;
    clock: Clock;
    log: Logger;
    files: StoreFiles;
    /** Memory limit while the disk cannot be written, in bytes. */
    memoryBytes?: number;
    /** Maximum time in the queue while the agent runs, see SegmentLog.expire. Default: unlimited. */
    ageLimit?: Duration;
    /** Maximum time until what is written is synced, except for High events. Default: one second. */
    syncEvery?: Duration;
    /** Called when the result of `store()` has changed. */
    changed?: () => void;
    /** Called when events have been queued or dropped. */
    counted?: () => void;
  }) {
    this.#directory = options.directory;
    this.#settings = options.settings;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#changed = options.changed ?? (() => {});
    this.#counted = options.counted ?? (() => {});
    this.#syncEvery = options.syncEvery ?? SYNC_WITHIN;
    const { files } = options;
    this.#files = new FallbackFiles(files);
    this.#blockedReason = () => files.blockedReason;
    this.#settled = files.settled?.bind(files);
    files.onFailure?.((error) => this.#onWriteError(error));
    const { clock, ageLimit = milliseconds(Number.POSITIVE_INFINITY) } = options;
    const log = (queue: QueueName) => {
      const segmentBytes = () => this.#space.segmentSize(queue);
      return new SegmentLog(this.#files, join(options.directory, queue.toLowerCase()), {
        segmentBytes,
        ageLimit,
        clock,
      });
    };
    this.#lookAfterAge = milliseconds(Math.min(hours(1), ageLimit / SEGMENTS_AN_AGE));
    this.#logs = { High: log('High'), Low: log('Low') };
    this.#space = new QueueSpace(this.#logs, {
      medium: () => (this.#files.refuses ? 'memory' : 'disk'),
      maxBytes: () => this.#settings.current().maxLocalCacheSizeInBytes,
      maxBytesInMemory: options.memoryBytes ?? IN_MEMORY,
      evicted: (queue) => this.#overflowed.add(queue),
      clock: options.clock,
    });
    this.#settings.onChange(() => {
      this.#keepWithin();
      this.#updateState();
    });
  }

  /**
   * Opens both queues as an earlier run left them, and begins to sync.
   *
   * The agent starts even if the disk is full, failing or read-only: queued events can still be sent, and new ones are
   * kept in memory, or dropped if the disk is full. A hung disk delays the start by five seconds at most.
   * @throws AgentError when the agent's user lacks the permission to use the directory
   */
  async start(): Promise<void> {
    for (const queue of QUEUES) {
      try {
        this.#open(queue);
      } catch (cause) {
        for (const log of Object.values(this.#logs)) log.close();
        throw this.#forbidden(cause);
      }
    }
    await this.#inTime(WAITS_FOR_DISK.start, this.#settled?.());
    if (isForbidden(this.#files.refusal)) throw this.#forbidden(this.#files.refusal);
    this.#keepWithin();
    this.#lookedAt = this.#clock.monotonic();
    const { signal } = this.#stop;
    this.#running = keepGoing((turnSignal) => this.#turn(turnSignal), { signal, clock: this.#clock, log: this.#log });
  }

  /** Waits four seconds at most for the last sync. */
  async stop(): Promise<void> {
    if (this.#stop.signal.aborted) return;
    this.#stop.abort();
    await this.#running;
    if (this.#running !== undefined) {
      this.#lookForAge();
      this.#returnToDisk();
      await this.#inTime(WAITS_FOR_DISK.end, Promise.all(QUEUES.map((queue) => this.#syncLast(queue))));
      this.#logLostEvents();
    }
    for (const queue of QUEUES) this.#logs[queue].close();
  }

  /**
   * Queues events. On return they are written, though not yet synced, or counted as dropped.
   *
   * @returns how many were written
   */
  put(queue: QueueName, events: readonly OutgoingEvent[]): number {
    const sized = events.map((event): SizedEvent => {
      const jsonBytes = Buffer.byteLength(event.json);
      return { event, jsonBytes, recordBytes: recordSize(event.name, jsonBytes) };
    });
    const admitted = this.#withinShares(queue, sized);
    const space = this.#space.available(queue, size(admitted));
    const { newest, others } = newestWithin(space, admitted);
    this.#lose(queue, others, 'cacheFull');
    let error: unknown;
    let stored = 0;
    for (let at = 0; at < newest.length; ) {
      const batch = this.#logs[queue].fitting(newest, at, space);
      at += batch.length;
      if (!this.#space.makeSpace(queue, size(batch))) {
        this.#lose(queue, batch, 'cacheFull');
        continue;
      }
      const refused = this.#append(queue, batch);
      if (refused === undefined) stored += batch.length;
      else this.#lose(queue, batch, 'unwritable');
      error ??= refused;
    }
    this.#syncEvents(queue);
    if (events.length > 0) this.#setError(queue, error); // last: a log line may become an event and call `put`
    this.#updateState();
    this.#counted();
    if (stored > 0) for (const listener of this.#listeners) listener();
    return stored;
  }

  /** Counts events that were dropped before they reached the queue: as collected and as dropped. Saved within `syncEvery`. */
  drop(queue: QueueName, name: string, reason: DropReason, count: number): void {
    this.#logs[queue].lose({ name, reason, elements: count, occurrences: count });
    this.#counted();
    this.#syncWithin(queue, this.#syncEvery);
  }

  /**
   * Takes the oldest events whose JSON fits into `maxBytes`, counting one byte more for each. With `atLeastOne` the
   * first event is taken even if it does not fit. Taken events are not evicted before they are settled. If none are
   * returned, `settle` must not be called.
   *
   * @param wanted leaves events out; if the wanted ones are far apart, fewer are taken than fit
   * @throws Error when events of this queue are taken already
   */
  take(queue: QueueName, maxBytes: number, atLeastOne: boolean, wanted?: EventFilter): readonly QueuedEvent[] {
    const log = this.#logs[queue];
    try {
      const taken = log.take(maxBytes, atLeastOne, wanted);
      if (log.hasPending) this.#syncWithin(queue, this.#syncEvery);
      return taken;
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      this.#setError(queue, error);
      return [];
    }
  }

  /** Whether events are taken, but not settled. */
  hasTaken(queue: QueueName): boolean {
    return this.#logs[queue].hasTaken;
  }

  /**
   * Ends `take`: `delivered` or a drop reason removes the taken events, `kept` leaves them where they are.
   *
   * @param only the positions that `outcome` applies to; the other taken events are kept
   * @throws Error when none are taken
   */
  settle(queue: QueueName, outcome: 'delivered' | 'kept' | DropReason, only?: ReadonlySet<number>): void {
    const error = this.#logs[queue].settle(outcome, only);
    if (outcome === 'delivered') this.#overflowed.delete(queue);
    this.#keepWithin();
    this.#syncWithin(queue, this.#syncEvery);
    if (error !== undefined) this.#setError(queue, error);
    this.#updateState();
  }

  /** The contents of a queue, taken events included. `bytes` is the size of the events' JSON. */
  waiting(queue: QueueName): { events: number; elements: number; bytes: number } {
    return this.#logs[queue].waiting();
  }

  /** A queue's account since it was created. At any time collected = delivered + aggregatedAway + dropped + queued. */
  account(queue: QueueName): { byEvent: Record<string, Queued>; totals: Queued } {
    const log = this.#logs[queue];
    const queued = log.queued();
    const rows = Object.entries(log.account().byEvent());
    return {
      byEvent: Object.fromEntries(rows.map(([name, row]) => [name, { ...row, queued: queued.get(name) ?? 0 }])),
      totals: { ...sum(rows.map(([, row]) => row)), queued: log.waiting().elements },
    };
  }

  /** `next`: the position that the next event gets. `lasting`: events before this position survive a power cut. */
  positions(queue: QueueName): { readonly next: number; readonly lasting: number } {
    return this.#logs[queue].positions;
  }

  /** Files that could not be read completely when the queues were opened, by their paths in the directory. */
  get damaged(): readonly string[] {
    return this.#damaged;
  }

  /** Whether the event at a position has neither been delivered nor dropped. */
  isWaiting(queue: QueueName, position: number): boolean {
    return this.#logs[queue].isWaiting(position);
  }

  /** @returns tells whether the events that are queued now survive kill -9 and a power cut by the time it is called */
  whenLasting(): () => boolean {
    const until = QUEUES.map((queue) => ({ queue, next: this.positions(queue).next }));
    return () => !this.isInMemory && until.every(({ queue, next }) => this.positions(queue).lasting >= next);
  }

  /** Where new events are kept, why not on disk if they are in memory, and whether old ones will soon be evicted. */
  store(): { readonly place: Medium; readonly reason?: string; readonly isNearlyFull: boolean } {
    const isNearlyFull = this.#isNearlyFull;
    if (this.#files.refuses || this.#isReturning)
      return { place: 'memory', reason: this.#reason ?? messageOf(this.#files.refusal), isNearlyFull };
    const reason = this.#blockedReason();
    return reason === undefined ? { place: 'disk', isNearlyFull } : { place: 'memory', reason, isNearlyFull };
  }

  /** Whether new events are only in memory, so that `kill -9` would lose them. */
  get isInMemory(): boolean {
    return this.#files.refuses || this.#isReturning;
  }

  /** A background write has failed: its data stays in memory, and so do new events. */
  #onWriteError(error: unknown): void {
    if (isFull(error)) {
      for (const log of [this.#logs.Low, this.#logs.High]) log.free(true);
    } else this.#files.refuse(error);
    this.#updateState();
    this.#alarm.ring();
  }

  /** `listener` is called from within `put`, when events have been queued. */
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
      this.#log.warn({ queue, files: found.keptAside }, 'Ignored files in an unknown format; they are not changed.');
    const files = found.damaged.map((name) => join(queue.toLowerCase(), name));
    this.#damaged.push(...files, ...found.keptAside.map((name) => join(queue.toLowerCase(), name)));
    if (found.corrupt > 0)
      this.#log.error(
        { queue, events, lost: found.corrupt, files },
        'Found a damaged queue; its intact events are kept.',
      );
    this.#syncEvents(queue);
    if (error !== undefined) this.#setError(queue, error);
    this.#updateState();
  }

  #forbidden(cause: unknown): AgentError {
    const what = `cannot use ${this.#directory}: ${messageOf(cause)}`;
    const remedy = 'Set stateDirectory to a directory that the agent may write to.';
    return new AgentError('STATE_DIRECTORY_UNUSABLE', what, remedy, { cause });
  }

  /** If the disk is full, High evicts from Low even though both are within the size limit. */
  #append(queue: QueueName, batch: readonly SizedEvent[]): unknown {
    const error = this.#logs[queue].append(batch);
    const evicts = queue === 'High' && isFull(error) && this.#logs.Low.evict('disk', true);
    if (evicts) this.#overflowed.add('Low');
    return evicts ? this.#logs.High.append(batch) : error;
  }

  /** The events that their users' shares allow; the rest is counted. */
  #withinShares(queue: QueueName, events: readonly SizedEvent[]): readonly SizedEvent[] {
    const refused = this.#space.beyondShare(queue, events);
    const [first] = refused;
    if (first === undefined) return events;
    this.#lose(queue, [...refused], 'userShare');
    this.#logRefused(queue, first.event.owner);
    return events.filter((event) => !refused.has(event));
  }

  #logRefused(queue: QueueName, user: string | undefined): void {
    const now = this.#clock.monotonic();
    if (now - (this.#refusedAt[queue] ?? LONG_AGO) < REMIND_EVERY) return;
    this.#refusedAt[queue] = now;
    this.#log.warn(
      { queue, user },
      'A user exceeds their share of a queue; their further events are dropped and counted.',
    );
  }

  #lose(queue: QueueName, events: readonly SizedEvent[], reason: DropReason): void {
    if (reason === 'cacheFull' && events.length > 0) this.#overflowed.add(queue);
    for (const { event } of events) {
      const { name, elements, occurrences }: EventTally = event;
      this.#logs[queue].lose({ name, elements, occurrences, reason });
    }
  }

  /** Call this when the limit has changed, and when checkpoints may have grown into the reserve. */
  #keepWithin(): void {
    if (this.#space.enforceLimit()) for (const queue of QUEUES) this.#syncWithin(queue, this.#syncEvery);
  }

  #syncEvents(queue: QueueName): void {
    this.#syncWithin(queue, queue === 'High' ? SYNC_HIGH_WITHIN : this.#syncEvery);
  }

  #syncWithin(queue: QueueName, wait: Duration): void {
    if (!this.#logs[queue].needsSync && !this.#logs[queue].hasPending) return;
    const at = milliseconds(this.#clock.monotonic() + wait);
    if ((this.#syncAt[queue] ?? NEVER) <= at) return;
    this.#syncAt[queue] = at;
    this.#alarm.ring();
  }

  async #turn(signal: AbortSignal): Promise<void> {
    const now = this.#clock.monotonic();
    if (now - this.#lookedAt >= this.#lookAfterAge) this.#lookForAge();
    let wait: number = this.#lookedAt + this.#lookAfterAge - now;
    if (this.#files.refuses && now - this.#triedDiskAt >= TRY_AGAIN_AFTER) this.#returnToDisk();
    for (const queue of QUEUES) {
      const left = (this.#syncAt[queue] ?? NEVER) - now;
      if (left <= 0) this.#beginSync(queue);
      wait = Math.min(wait, (this.#syncAt[queue] ?? NEVER) - now);
    }
    for (const what of Object.keys(this.#failingSince) as FailingPart[]) {
      if (what === 'disk') this.#updateState();
      else this.#setError(what, undefined);
      wait = Math.min(wait, TROUBLE_LASTS);
    }
    await this.#alarm.sleep(this.#clock, milliseconds(Math.max(0, wait)), signal);
  }

  /** Pending counters are written even while an earlier sync hangs. */
  #beginSync(queue: QueueName): void {
    delete this.#syncAt[queue];
    this.#flush(queue);
    if (this.#syncing[queue] === undefined) this.#syncing[queue] = this.#sync(queue);
    else this.#syncWithin(queue, SYNC_WITHIN);
  }

  #flush(queue: QueueName): void {
    const error = this.#logs[queue].flush();
    if (error !== undefined) this.#setError(queue, error);
  }

  async #sync(queue: QueueName): Promise<void> {
    let error: unknown;
    try {
      await this.#logs[queue].sync();
    } catch (cannotSync) {
      error = cannotSync;
    }
    delete this.#syncing[queue];
    this.#syncWithin(queue, SYNC_WITHIN); // for writes that failed or were made during this sync
    this.#setError(queue, error);
    this.#updateState();
  }

  /** Writes without waiting for the sync under way, then syncs once more. */
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
      this.#syncWithin(queue, this.#syncEvery);
    }
  }

  /** Tries to move the segments in memory to the disk. High first: on a full disk it may evict from Low. */
  #returnToDisk(): void {
    if (!this.#files.refuses) return;
    this.#triedDiskAt = this.#clock.monotonic();
    const { High, Low } = this.#logs;
    for (const log of [High, Low]) log.free(true);
    const freesSpace = () => High.free(true) || Low.free(true) || Low.evict('disk', true);
    for (const log of [High, Low]) {
      let error = log.moveToDisk();
      if (isFull(error) && freesSpace()) error = log.moveToDisk();
      if (error !== undefined) return;
    }
    this.#files.accept();
    this.#isReturning = this.#settled !== undefined;
    void this.#settled?.().then(() => {
      this.#isReturning = false;
      this.#updateState();
    });
    for (const queue of QUEUES) {
      this.#logs[queue].flush();
      this.#syncEvents(queue);
    }
    this.#keepWithin();
  }

  /** Logs and reports a change of the medium, and of whether the queues are nearly full. */
  #updateState(): void {
    const { place, reason } = this.store();
    this.#reason = this.isInMemory ? reason : undefined;
    const trouble = this.#files.refusal ?? (place === 'memory' ? new Error(reason) : undefined);
    if (place === 'memory' || this.#failingSince.disk !== undefined) this.#setError('disk', trouble);
    const { fill } = this.#space;
    // By the fill alone, a small cache could drop most events: to evict a segment can make it seem half empty.
    const isNearlyFull = this.#overflowed.size > 0 || fill > (this.#isNearlyFull ? NO_LONGER_NEARLY_FULL : NEARLY_FULL);
    if (place === this.#medium && isNearlyFull === this.#isNearlyFull) return;
    this.#medium = place;
    this.#isNearlyFull = isNearlyFull;
    this.#changed();
  }

  /** Logs a problem once when it begins, and once when it has ended. @param error absent: the last attempt succeeded */
  #setError(what: FailingPart, error: unknown): void {
    const now = this.#clock.monotonic();
    const since = this.#failingSince[what];
    const about = what === 'disk' ? {} : { queue: what };
    if (error !== undefined) {
      this.#failingSince[what] = now;
      if (since === undefined)
        this.#log.error({ ...about, err: error }, LOG_LINES[what === 'disk' ? 'disk' : 'queue'].failing);
    } else if (since !== undefined && now - since >= TROUBLE_LASTS) {
      delete this.#failingSince[what];
      this.#log.info(about, LOG_LINES[what === 'disk' ? 'disk' : 'queue'].recovered);
    }
  }

  #logLostEvents(): void {
    const lost = QUEUES.map((queue) => this.#logs[queue].eventsInMemory).reduce((all, events) => all + events, 0);
    if (lost > 0) this.#log.error({ events: lost }, 'Could not write the events kept in memory; they are lost.');
  }
}

const LOG_LINES = {
  disk: {
    failing: 'Cannot write to the disk; new events are kept in memory, and lost if the agent exits before it recovers.',
    recovered: 'Writing to the disk works again; the events kept in memory have been written.',
  },
  queue: {
    failing: 'Cannot write a queue; new events are dropped and counted.',
    recovered: 'Writing the queue works again.',
  },
} as const;

const isForbidden = (error: unknown): boolean => ['EACCES', 'EPERM'].includes(errnoOf(error) ?? '');

const size = (events: readonly SizedEvent[]) => events.reduce((all, { recordBytes }) => all + recordBytes, 0);

/**
 * Divides events: `newest` would remain if all were put one by one into a queue of `space` bytes, `others` would not.
 */
function newestWithin(space: number, events: readonly SizedEvent[]) {
  const newest: SizedEvent[] = [];
  const others: SizedEvent[] = [];
  let left = space;
  for (const event of events.toReversed()) {
    const fits = event.recordBytes <= left;
    if (fits) left -= event.recordBytes;
    else if (event.recordBytes <= space) left = 0; // older ones would have gone before it
    (fits ? newest : others).push(event);
  }
  return { newest: newest.reverse(), others: others.reverse() };
}
