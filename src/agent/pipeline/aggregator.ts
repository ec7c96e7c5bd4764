import { randomUUID } from 'node:crypto';
import { type Clock, TimeLimitError } from '../../core/base/clock.ts';
import { UNIDENTIFIED } from '../../core/base/counters.ts';
import { type Duration, hours, LONG_AGO, milliseconds, NEVER, seconds } from '../../core/base/duration.ts';
import type { Logger } from '../../core/base/log.ts';
import { keepGoing } from '../../core/base/loop.ts';
import type { Service } from '../../core/base/service.ts';
import { Alarm } from '../../core/base/waiting.ts';
import type { TriggeredCollector } from '../../core/contract/collector.ts';
import type { Payload, QueueName } from '../../core/contract/event.ts';
import { ownerOfPayload } from '../../core/contract/owner.ts';
import type { Settings, SettingsReader } from '../../core/contract/settings.ts';
import type { OutgoingEvent } from '../../core/contract/store.ts';
import { beyondShares, inLists } from './element-shares.ts';
import { blanked, type Element } from './element-table.ts';
import { envelope, localTime } from './envelope.ts';
import type { EventQueues } from './queue.ts';
import type { StoreFiles } from './store-files.ts';
import { Window } from './window.ts';
import { WindowLog } from './window-log.ts';
import { LATEST, type Leaving } from './window-records.ts';
import type { FoundWindow } from './window-recovery.ts';

/** Limit of distinct elements in a window. Each costs about 600 bytes in addition to its JSON. */
const MAX_ELEMENTS = 10_000;
/** Occurrences that a window counts: an event in the queue has 32 bits for them. */
const MAX_HITS = 2 ** 31;
/** Limit of all windows together, in bytes of JSON, and as a share of the queues' size limit. */
const MAX_BYTES_HELD = 1024 * 1024;
const PART_OF_CACHE = 1 / 2;
/** Disk space of the counts: so many times what the windows hold, and as many bytes in any case: an element may be that large. */
const DISK_TIMES = 4;
const MIN_BYTES_ON_DISK = 2 * 1024 * 1024;
/** Share that is kept when a limit is reached: elements leave early many at a time. */
const KEPT_WHEN_FULL = 3 / 4;

/**
 * The elements of an event of a flushed window stay below this, so that it fits into the smallest message a twin may
 * ask for, and need never be cut. One element alone may be longer.
 *
 * Of 8192 bytes the message's properties take at most 840 (512 of them hubResourceId), what its body begins and ends
 * with 145, the event's envelope 300: 8085 with the elements. A test holds each of these.
 */
const MAX_BYTES = 6_800;

/** Maximum time from a write to its sync, and delay before a failed write is retried. */
const SYNC_WITHIN = seconds(1);
const TRY_AGAIN = seconds(1);
/** How long `stop` waits for the last sync. */
const WAITS_FOR_DISK = seconds(4);

/**
 * Counts equal occurrences instead of listing them (contract §5).
 *
 * A window opens with the first occurrence of an event and closes after the event's aggregation interval, or at a
 * change of a setting that concerns it. It then becomes one event, or as many as its size needs, with one element for
 * each distinct payload.
 *
 * When a window has too many elements, or all windows together hold too many bytes, a quarter of the elements leaves early:
 * the users who have the most are reduced to a common level, and lose the least frequent first (of equally frequent ones the least
 * recent). So a user who causes many distinct elements displaces no other user's.
 *
 * Counts are written at the end of the current turn of the event loop, and synced every `syncEvery`. The next run
 * continues the windows: they close at their original time, but at most one interval after the start. While the disk
 * cannot be written, counts are kept in memory.
 */
export class Aggregator implements Service {
  readonly name = 'aggregator';
  /** More than one per event only during recovery, if an earlier run has left several. */
  readonly #windows = new Set<Window>();
  readonly #open = new Map<string, Window>();
  readonly #windowLog: WindowLog;
  readonly #alarm = new Alarm();
  readonly #stop = new AbortController();
  readonly #settings: SettingsReader;
  readonly #clock: Clock;
  readonly #queues: Pick<EventQueues, 'put' | 'drop' | 'positions'>;
  readonly #log: Logger;
  #loop: Promise<void> = Promise.resolve();
  /** Reading the counts of an earlier run: not tried yet, failed (and will be retried), done. */
  #recovery: 'due' | 'failed' | 'done' = 'due';
  #willSave = false;
  readonly #syncEvery: Duration;
  readonly #maxHits: number;
  readonly #saved: () => void;
  #tryAgainAt = LONG_AGO;
  #syncAt = NEVER;
  #syncing: Promise<void> | undefined;
  #waitedAt = LONG_AGO;
  #isFailing = false;
  #damaged: readonly string[] = [];

  constructor(options: {
    settings: SettingsReader;
    clock: Clock;
    queues: Pick<EventQueues, 'put' | 'drop' | 'positions'>;
    log: Logger;
    /** Where the counts are kept; created if missing. */
    directory: string;
    files: StoreFiles;
    /** Maximum time from a write to its sync: a second by default. */
    syncEvery?: Duration;
    /** Called when counts have been saved. */
    saved?: () => void;
    /** For tests: number of occurrences that closes a window. */
    maxHits?: number;
  }) {
    this.#maxHits = options.maxHits ?? MAX_HITS;
    this.#syncEvery = options.syncEvery ?? SYNC_WITHIN;
    this.#saved = options.saved ?? (() => {});
    this.#settings = options.settings;
    this.#clock = options.clock;
    this.#queues = options.queues;
    this.#log = options.log;
    this.#windowLog = new WindowLog({
      files: options.files,
      folder: options.directory,
      windows: () => this.#windows,
      positions: (queue) => options.queues.positions(queue),
      clock: options.clock,
      maxBytes: () => Math.max(MIN_BYTES_ON_DISK, DISK_TIMES * this.#maxBytesHeld),
    });
    this.#settings.onChange((before) => {
      if (this.#stop.signal.aborted) return; // the counts on disk are for the next run
      this.#flushWhatChanged(before);
      this.#keepWithin();
    });
  }

  /**
   * Restores the counts of an earlier run. Must be started right after the queues and before any event is put into
   * them: the queues' positions show which events the earlier run had already queued.
   */
  get recovery(): Service {
    return { name: 'counts of an earlier run', start: async () => this.#recover(), stop: async () => {} };
  }

  async start(): Promise<void> {
    this.#recover();
    this.#loop = keepGoing((signal) => this.#turn(signal), {
      signal: this.#stop.signal,
      clock: this.#clock,
      log: this.#log,
    });
  }

  /**
   * Saves the counts for the next run; if they cannot be saved, they are queued as events. Waits four seconds at most
   * for a hung disk.
   */
  async stop(): Promise<void> {
    if (this.#stop.signal.aborted) return;
    this.#stop.abort();
    await this.#loop;
    let error = this.#recovery === 'done' ? this.#windowLog.save() : new Error('It was never opened.');
    try {
      if (error === undefined) await this.#clock.within(WAITS_FOR_DISK, 'Writing the counts', this.#syncLast());
    } catch (cannotSync) {
      if (!(cannotSync instanceof TimeLimitError)) error = cannotSync;
    }
    if (error !== undefined) for (const window of [...this.#windows]) this.#release(window, [...window.elements]);
    this.#windowLog.close();
  }

  /** Closes all windows now and queues their events; after `stop`, the counts belong to the next run. */
  flush(): void {
    if (this.#stop.signal.aborted) return;
    for (const window of [...this.#windows]) this.#release(window, [...window.elements]);
  }

  /**
   * Counts one occurrence of an event that can be aggregated.
   *
   * @throws Error when it cannot be counted; then nothing has changed
   */
  add(collector: TriggeredCollector, queue: QueueName, payload: Payload, time: Date): void {
    const { aggregate, name } = collector;
    if (aggregate === undefined) throw new TypeError(`${name} cannot be aggregated`);
    const at = time.getTime();
    if (!(at > -LATEST && at < LATEST)) throw new RangeError(`${name} has no valid time`);
    const window = this.#open.get(name);
    const known = window?.find(aggregate, payload);
    const element = known === undefined ? blanked(aggregate, payload) : undefined;
    // Nothing throws from here on: the caller would count as dropped what is already counted as pending.
    if (window !== undefined && known !== undefined) window.count(known, at);
    else if (element !== undefined) {
      const grown = window ?? this.#begin(collector, queue);
      const owner = ownerOfPayload(payload);
      grown.add({ ...element, owner, hits: 1, first: at, last: at, number: -1, changed: false });
      this.#keepSmall(grown);
    }
    if (window !== undefined && window.hits >= this.#maxHits) this.#release(window, [...window.elements]);
    if (!this.#willSave) this.#saveSoon();
  }

  /** Whether counts are in memory only, or those of an earlier run have not been read. */
  get hasUnsaved(): boolean {
    return this.#recovery !== 'done' || this.#isFailing || this.#windowLog.hasPending;
  }

  /** Names of the files that could not be read completely at the start. */
  get damaged(): readonly string[] {
    return this.#damaged;
  }

  /** Occurrences counted but not queued yet, by event, and the number of elements they will become. */
  pending(queue: QueueName): Record<string, { occurrences: number; elements: number }> {
    const pending: Record<string, { occurrences: number; elements: number }> = {};
    for (const window of this.#windows) {
      if (window.queue !== queue) continue;
      const { occurrences = 0, elements = 0 } = pending[window.kind.name] ?? {};
      pending[window.kind.name] = {
        occurrences: occurrences + window.hits,
        elements: elements + window.elements.size,
      };
    }
    return pending;
  }

  #begin({ name, category, type, version }: TriggeredCollector, queue: QueueName): Window {
    const interval = this.#settings.current().aggregationInterval[name] ?? hours(1);
    const closesAt = milliseconds(this.#clock.monotonic() + interval);
    return this.#take(new Window({ kind: { name, category, type, version }, queue, interval, closesAt }));
  }

  #take(window: Window): Window {
    this.#windows.add(window);
    this.#open.set(window.kind.name, window);
    this.#alarm.ring();
    return window;
  }

  // ── limits ──

  #keepSmall(grown: Window): void {
    if (grown.elements.size > MAX_ELEMENTS)
      this.#release(
        grown,
        beyondShares([...grown.elements], MAX_ELEMENTS * KEPT_WHEN_FULL, () => 1),
      );
    this.#keepWithin();
  }

  get #maxBytesHeld(): number {
    return Math.min(MAX_BYTES_HELD, this.#settings.current().maxLocalCacheSizeInBytes * PART_OF_CACHE);
  }

  /** Call this when the limit has changed or the windows have grown. */
  #keepWithin(): void {
    const maxBytes = this.#maxBytesHeld;
    const windows = [...this.#windows];
    if (windows.reduce((all, { bytes }) => all + bytes, 0) <= maxBytes) return;
    const all = windows.flatMap(({ elements }) => [...elements]);
    const leaving = new Set(beyondShares(all, maxBytes * KEPT_WHEN_FULL, ({ bytes }) => bytes));
    for (const window of windows)
      this.#release(
        window,
        [...window.elements].filter((element) => leaving.has(element)),
      );
  }

  // ── closing windows ──

  async #turn(signal: AbortSignal): Promise<void> {
    const now = this.#clock.monotonic();
    for (const window of [...this.#windows]) if (window.closesAt <= now) this.#release(window, [...window.elements]);
    if (this.#tryAgainAt <= now) this.#save();
    if (this.#syncAt <= now) this.#syncing ??= this.#sync(); // not awaited: windows must close on a slow disk, too
    const next = Math.min(
      ...[...this.#windows].map(({ closesAt }) => closesAt),
      this.#syncing === undefined ? this.#syncAt : NEVER,
      this.#windowLog.hasPending || this.#recovery === 'failed' ? Math.max(this.#tryAgainAt, now) : NEVER,
      now + hours(24),
    );
    await this.#alarm.sleep(this.#clock, milliseconds(Math.max(0, next - this.#clock.monotonic())), signal);
  }

  /** Counts made under the old settings are queued with the old priority. */
  #flushWhatChanged(before: Settings): void {
    const now = this.#settings.current();
    for (const window of [...this.#windows]) {
      const { name } = window.kind;
      const isSame = (['aggregationEnabled', 'aggregationInterval', 'priorities'] as const).every(
        (setting) => before[setting][name] === now[setting][name],
      );
      if (!isSame) this.#release(window, [...window.elements]);
    }
  }

  /** Queues elements of a window, as events that are small enough for every message. */
  #release(window: Window, elements: readonly Element[]): void {
    const events = inLists(elements, MAX_BYTES, sizeOf).map((ofEvent) => ({
      id: randomUUID() as string,
      window,
      elements: ofEvent,
    }));
    this.#put(window, events);
    if (window.elements.size > 0) return;
    this.#windows.delete(window);
    if (this.#open.get(window.kind.name) === window) this.#open.delete(window.kind.name);
  }

  /** The order of these steps ensures that no event is lost or repeated after a crash; see window-log.ts. */
  #put(window: Window, events: readonly Leaving[]): void {
    if (events.length === 0) return;
    const { queue, kind } = window;
    const now = this.#clock.monotonic();
    const leavesEarly = events.reduce((all, { elements }) => all + elements.length, 0) < window.elements.size;
    const waits = !leavesEarly || now - this.#waitedAt >= SYNC_WITHIN; // a table may be made to overflow often
    if (waits) this.#waitedAt = now;
    let { next } = this.#queues.positions(queue);
    const error = this.#windowLog.leave(queue, events, waits);
    const time = this.#clock.now();
    for (const [index, { id, elements }] of events.entries()) {
      for (const element of elements) window.remove(element);
      this.#queues.put(queue, [eventOf(kind, elements, time, id)]);
      const { next: then } = this.#queues.positions(queue);
      if (then !== next + 1) this.#windowLog.ended(index, queue);
      next = then;
    }
    if (error === undefined)
      this.#syncWithin(this.#syncEvery); // what must precede the events has been synced
    else this.#save();
  }

  // ── saving and recovery ──

  /** Schedules one write for everything counted in this turn of the event loop. */
  #saveSoon(): void {
    this.#willSave = true;
    void Promise.resolve().then(() => {
      this.#willSave = false;
      if (this.#clock.monotonic() >= this.#tryAgainAt) this.#save();
    });
  }

  #save(): void {
    if (this.#recovery === 'failed') this.#recover();
    if (this.#recovery === 'done' && this.#windowLog.hasPending) {
      const error = this.#windowLog.save();
      if (error === undefined) {
        this.#syncWithin(this.#syncEvery);
        this.#saved();
      } else this.#setError(error);
    }
  }

  #syncWithin(wait: Duration): void {
    const at = milliseconds(this.#clock.monotonic() + wait);
    if (!this.#windowLog.needsSync || this.#syncAt <= at) return;
    this.#syncAt = at;
    this.#alarm.ring();
  }

  async #sync(): Promise<void> {
    this.#syncAt = NEVER;
    try {
      await this.#windowLog.sync();
      // Only after a sync: a disk on which writes succeed and syncs fail has not recovered.
      if (!this.#windowLog.hasPending) this.#setError(undefined);
    } catch (error) {
      this.#setError(error);
    }
    this.#syncing = undefined;
    this.#syncWithin(this.#syncEvery); // for writes made during this sync
    this.#alarm.ring();
  }

  /** @throws the error, if the counts could not be saved */
  async #syncLast(): Promise<void> {
    await this.#syncing;
    const error = this.#windowLog.save(); // in case that sync failed
    if (error !== undefined) throw error;
    await this.#windowLog.sync();
  }

  /** Logs once that the counts cannot be saved, and once that they can again. @param error absent: saving succeeded */
  #setError(error: unknown): void {
    const wasTroubled = this.#isFailing;
    this.#isFailing = error !== undefined;
    if (error !== undefined) {
      this.#tryAgainAt = milliseconds(this.#clock.monotonic() + TRY_AGAIN);
      this.#alarm.ring();
      if (!wasTroubled)
        this.#log.error({ err: error }, 'Cannot save the counts of aggregated events; they are kept in memory.');
    } else if (wasTroubled) this.#log.info('Saving the counts of aggregated events works again.');
  }

  #recover(): void {
    if (this.#recovery === 'done') return;
    const early = [...this.#windows];
    const { found, error } = this.#windowLog.open();
    this.#recovery = error === undefined ? 'done' : 'failed';
    if (error !== undefined) {
      this.#setError(error);
      return;
    }
    if (found.keptAside.length > 0)
      this.#log.warn({ files: found.keptAside }, 'Ignored files in an unknown format; they are not changed.');
    this.#damaged = [...found.damaged, ...found.keptAside];
    if (found.lost > 0) {
      this.#queues.drop('Low', UNIDENTIFIED, 'corrupt', found.lost);
      this.#log.error(
        { lost: found.lost, files: found.damaged },
        'Found damaged counts of aggregated events; the intact ones are kept.',
      );
    }
    const recovered = found.windows.map((one) => ({ ...one, window: this.#windowOf(one) }));
    this.#save();
    for (const { window, leaving } of recovered) {
      this.#put(
        window,
        leaving.map((event) => ({ ...event, window })),
      );
      const continues = this.#open.get(window.kind.name) === window && this.#isInForce(window);
      if (!continues || window.elements.size === 0) this.#release(window, [...window.elements]);
    }
    for (const window of early) this.#release(window, [...window.elements]); // only one window per event may stay
    this.#keepWithin();
  }

  #windowOf({ kind, queue, interval, closesAt, elements }: FoundWindow): Window {
    const left = Math.min(Math.max(closesAt - this.#clock.now().getTime(), 0), interval);
    const window = new Window({
      kind,
      queue,
      interval: milliseconds(interval),
      closesAt: milliseconds(this.#clock.monotonic() + left),
    });
    for (const element of elements) window.add(element);
    return this.#take(window);
  }

  /** Whether the settings in force still ask for such a window. */
  #isInForce({ kind: { name }, queue, interval }: Window): boolean {
    const { aggregationEnabled, aggregationInterval, priorities } = this.#settings.current();
    return aggregationEnabled[name] === true && aggregationInterval[name] === interval && priorities[name] === queue;
  }
}

/** Bytes of an element in an event, with the comma after it. */
const sizeOf = (element: Element) => Buffer.byteLength(JSON.stringify(counted(element))) + 1;

const eventOf = (kind: Window['kind'], elements: readonly Element[], time: Date, id: string): OutgoingEvent => ({
  name: kind.name,
  elements: elements.length,
  occurrences: elements.reduce((all, { hits }) => all + hits, 0),
  json: JSON.stringify(envelope(kind, elements.map(counted), time, id)),
  owner: elements[0]?.owner,
});

function counted({ payload, hits, first, last }: Element): Payload {
  const start = new Date(first);
  const end = new Date(last);
  return {
    ...payload,
    ExtraDetails: {
      ...(payload.ExtraDetails as Record<string, string> | undefined),
      HitCount: String(hits),
      StartTimeUtc: start.toISOString(),
      StartTimeLocal: localTime(start),
      EndTimeUtc: end.toISOString(),
      EndTimeLocal: localTime(end),
    },
  };
}
