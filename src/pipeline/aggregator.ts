import { randomUUID } from 'node:crypto';
import { Alarm } from '../base/alarm.ts';
import { type Clock, TimeLimitError } from '../base/clock.ts';
import { UNIDENTIFIED } from '../base/counters.ts';
import { hours, milliseconds, seconds } from '../base/duration.ts';
import type { Logger } from '../base/log.ts';
import { keepGoing } from '../base/loop.ts';
import type { Service } from '../base/service.ts';
import type { TriggeredCollector } from '../contract/collector.ts';
import type { Payload, QueueName } from '../contract/event.ts';
import type { Settings, SettingsReader } from '../contract/settings.ts';
import type { OutgoingEvent } from '../contract/store.ts';
import { blanked, type Element } from './element-table.ts';
import { envelope, localTime } from './envelope.ts';
import type { EventQueues } from './queue.ts';
import { type StoreFiles, systemFiles } from './store-files.ts';
import { Window } from './window.ts';
import { WindowLog } from './window-log.ts';
import { LATEST, type Leaving } from './window-records.ts';
import type { FoundWindow } from './window-recovery.ts';

/** Distinct elements a window may hold. Each costs some 600 bytes besides its text. */
const MOST_ELEMENTS = 10_000;
/** Bytes of JSON that all windows together may hold, and what part of the room that the queues may take. */
const MOST_BYTES_HELD = 1024 * 1024;
const PART_OF_CACHE = 1 / 2;
/** What is left when the least frequent have left early: so that they leave many at a time. */
const KEPT_WHEN_FULL = 3 / 4;

/**
 * The elements of an event of a flushed window stay below this, so that it fits into the smallest message a twin may ask
 * for, and need never be cut. One element alone may be longer.
 *
 * Of 8192 bytes the message's properties take at most 645 (512 of them hubResourceId), what its body begins and ends
 * with 145, the event's envelope 300: 8090 with the elements. A test holds each of these.
 */
const MOST_BYTES = 7_000;

/** How long what was written may stay unsynced (contract §6), and how soon a disk that refused is tried again. */
const SYNC_WITHIN = seconds(1);
const TRY_AGAIN = seconds(1);
/** How long the end waits for what has been written to be synced. */
const WAITS_FOR_DISK = seconds(4);

/**
 * Counts occurrences that say the same instead of listing them (contract §5).
 *
 * A window opens with the first occurrence of an event and closes after the event's aggregation interval, or at a change
 * of a setting that concerns it. It then becomes one event, or as many as its size needs, with one element for each
 * distinct payload.
 *
 * When a window has too many elements, or all windows together hold too many bytes, the least frequent elements leave
 * early (of equally frequent ones those that are longest past), a quarter at a time; the others stay counted.
 *
 * What has been counted is on disk as soon as the code that had it counted is done, and is taken up by the next run: the
 * windows go on, and close when they would have, but never later than an interval from the start. While the disk refuses,
 * they are held in memory.
 */
export class Aggregator implements Service {
  readonly name = 'aggregator';
  /** More than one of a name only for a moment, when that is how an earlier run has left them. */
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
  /** What an earlier run has counted: not looked for yet, cannot be read now, taken up. */
  #recovery: 'due' | 'failed' | 'done' = 'due';
  #willSave = false;
  #tryAgainAt = milliseconds(Number.NEGATIVE_INFINITY);
  #syncAt = milliseconds(Number.POSITIVE_INFINITY);
  #syncing: Promise<void> | undefined;
  #waitedAt = milliseconds(Number.NEGATIVE_INFINITY);
  #isTroubled = false;

  constructor(options: {
    settings: SettingsReader;
    clock: Clock;
    queues: Pick<EventQueues, 'put' | 'drop' | 'positions'>;
    log: Logger;
    /** Where to keep the counts; made if it isn't there. */
    directory: string;
    files?: StoreFiles;
  }) {
    this.#settings = options.settings;
    this.#clock = options.clock;
    this.#queues = options.queues;
    this.#log = options.log;
    this.#windowLog = new WindowLog({
      files: options.files ?? systemFiles,
      folder: options.directory,
      windows: () => this.#windows,
      positions: (queue) => options.queues.positions(queue),
      clock: options.clock,
    });
    this.#settings.onChange((before) => {
      if (this.#stop.signal.aborted) return; // what is on disk then is the next run's
      this.#flushWhatChanged(before);
      this.#keepWithin();
    });
  }

  /**
   * Takes up what an earlier run has counted. The service is to start right after the queues, before anything is put into
   * them: their positions tell what had got in.
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
   * Leaves what has been counted for the next run. Only if it cannot be saved is it queued now. Waits four seconds at most
   * for a disk that does not say whether it can.
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

  /** Closes all windows at once, as for want of memory. */
  flush(): void {
    for (const window of [...this.#windows]) this.#release(window, [...window.elements]);
  }

  /**
   * Counts one occurrence of an event that can be aggregated.
   *
   * @throws Error when it cannot be counted; then it isn't
   */
  add(collector: TriggeredCollector, queue: QueueName, payload: Payload, time: Date): void {
    const { aggregate, name } = collector;
    if (aggregate === undefined) throw new TypeError(`${name} cannot be aggregated`);
    const at = time.getTime();
    if (!(at > -LATEST && at < LATEST)) throw new RangeError(`${name} has no valid time`);
    const window = this.#open.get(name);
    const known = window?.find(aggregate, payload);
    const element = known === undefined ? blanked(aggregate, payload) : undefined;
    // From here on nothing throws, so that what is counted as pending is not counted as dropped as well.
    if (window !== undefined && known !== undefined) window.count(known, at);
    else if (element !== undefined) {
      const grown = window ?? this.#begin(collector, queue);
      grown.add({ ...element, hits: 1, first: at, last: at, number: -1, changed: false });
      this.#keepSmall(grown);
    }
    if (!this.#willSave) this.#saveSoon();
  }

  /** What is counted and not yet queued, by event: occurrences, and the elements they will become. */
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
    const interval = this.#settings.current().aggregation[name]?.interval ?? hours(1);
    const closesAt = milliseconds(this.#clock.monotonic() + interval);
    return this.#take(new Window({ kind: { name, category, type, version }, queue, interval, closesAt }));
  }

  #take(window: Window): Window {
    this.#windows.add(window);
    this.#open.set(window.kind.name, window);
    this.#alarm.ring();
    return window;
  }

  // ── what is full ──

  #keepSmall(grown: Window): void {
    if (grown.elements.size > MOST_ELEMENTS) {
      const excess = grown.elements.size - MOST_ELEMENTS * KEPT_WHEN_FULL;
      this.#release(grown, leastFrequent(grown).slice(0, excess));
    }
    this.#keepWithin();
  }

  /** After a change of the room, or of what is held. */
  #keepWithin(): void {
    const most = Math.min(MOST_BYTES_HELD, this.#settings.current().maxLocalCacheSizeInBytes * PART_OF_CACHE);
    const held = () => [...this.#windows].reduce((all, { bytes }) => all + bytes, 0);
    if (held() <= most) return;
    for (let excess = held() - most * KEPT_WHEN_FULL; excess > 0; excess = held() - most * KEPT_WHEN_FULL) {
      const largest = [...this.#windows].reduce((most, window) => (window.bytes > most.bytes ? window : most));
      let bytes = 0;
      const leaving = leastFrequent(largest).filter((element) => {
        const leaves = bytes < excess;
        if (leaves) bytes += element.bytes;
        return leaves;
      });
      this.#release(largest, leaving);
    }
  }

  // ── what closes ──

  async #turn(signal: AbortSignal): Promise<void> {
    const now = this.#clock.monotonic();
    for (const window of [...this.#windows]) if (window.closesAt <= now) this.#release(window, [...window.elements]);
    if (this.#tryAgainAt <= now) this.#save();
    if (this.#syncAt <= now) this.#syncing ??= this.#sync(); // windows close meanwhile, however long the disk takes
    const next = Math.min(
      ...[...this.#windows].map(({ closesAt }) => closesAt),
      this.#syncing === undefined ? this.#syncAt : Number.POSITIVE_INFINITY,
      this.#windowLog.owes || this.#recovery === 'failed' ? Math.max(this.#tryAgainAt, now) : Number.POSITIVE_INFINITY,
      now + hours(24),
    );
    await this.#alarm.sleep(this.#clock, milliseconds(Math.max(0, next - this.#clock.monotonic())), signal);
  }

  /** What was counted under the old settings is queued under the old settings. */
  #flushWhatChanged(before: Settings): void {
    const now = this.#settings.current();
    for (const window of [...this.#windows]) {
      const { name } = window.kind;
      const was = before.aggregation[name];
      const is = now.aggregation[name];
      const same = was?.enabled === is?.enabled && was?.interval === is?.interval;
      if (!same || before.priorities[name] !== now.priorities[name]) this.#release(window, [...window.elements]);
    }
  }

  /** Puts elements of a window into its queue, as events of a size that fits every message. */
  #release(window: Window, elements: readonly Element[]): void {
    const events = inEvents(elements).map((ofEvent) => ({ id: randomUUID() as string, window, elements: ofEvent }));
    this.#put(window, events);
    if (window.elements.size > 0) return;
    this.#windows.delete(window);
    if (this.#open.get(window.kind.name) === window) this.#open.delete(window.kind.name);
  }

  /** The order of these steps is what makes it happen once, whatever happens in between; see window-log.ts. */
  #put(window: Window, events: readonly Leaving[]): void {
    if (events.length === 0) return;
    const { queue, kind } = window;
    const now = this.#clock.monotonic();
    const leavesEarly = events.reduce((all, { elements }) => all + elements.length, 0) < window.elements.size;
    const waits = !leavesEarly || now - this.#waitedAt >= SYNC_WITHIN; // whoever makes a table overflow may do it often
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
    if (error === undefined) this.#syncSoon();
    else this.#save();
  }

  // ── what is on disk ──

  /** All that is counted before the event loop goes on is written at once, when the code that counts it is done. */
  #saveSoon(): void {
    this.#willSave = true;
    void Promise.resolve().then(() => {
      this.#willSave = false;
      if (this.#clock.monotonic() >= this.#tryAgainAt) this.#save();
    });
  }

  #save(): void {
    if (this.#recovery === 'failed') this.#recover();
    if (this.#recovery !== 'done' || !this.#windowLog.owes) return;
    const error = this.#windowLog.save();
    if (error === undefined) this.#syncSoon();
    else this.#sayHowItGoes(error);
  }

  #syncSoon(): void {
    if (!this.#windowLog.needsSync || this.#syncAt < Number.POSITIVE_INFINITY) return;
    this.#syncAt = milliseconds(this.#clock.monotonic() + SYNC_WITHIN);
    this.#alarm.ring();
  }

  async #sync(): Promise<void> {
    this.#syncAt = milliseconds(Number.POSITIVE_INFINITY);
    try {
      await this.#windowLog.sync();
      // Not before: a disk that takes what it cannot sync has not been mended.
      if (!this.#windowLog.owes) this.#sayHowItGoes(undefined);
    } catch (error) {
      this.#sayHowItGoes(error);
    }
    this.#syncing = undefined;
    this.#syncSoon(); // for what came meanwhile
    this.#alarm.ring();
  }

  /** @throws why what has been counted is not on disk */
  async #syncLast(): Promise<void> {
    await this.#syncing;
    const error = this.#windowLog.save(); // when that sync has failed
    if (error !== undefined) throw error;
    await this.#windowLog.sync();
  }

  /** Says once that the counts cannot be saved, and once that they can again. */
  #sayHowItGoes(error: unknown): void {
    const wasTroubled = this.#isTroubled;
    this.#isTroubled = error !== undefined;
    if (error !== undefined) {
      this.#tryAgainAt = milliseconds(this.#clock.monotonic() + TRY_AGAIN);
      this.#alarm.ring();
      if (!wasTroubled)
        this.#log.error({ err: error }, 'Cannot save the counts of aggregated events; they are kept in memory.');
    } else if (wasTroubled) this.#log.info('Can save the counts of aggregated events again.');
  }

  #recover(): void {
    if (this.#recovery === 'done') return;
    const early = [...this.#windows];
    const { found, error } = this.#windowLog.open();
    this.#recovery = error === undefined ? 'done' : 'failed';
    if (error !== undefined) {
      this.#sayHowItGoes(error);
      return;
    }
    if (found.keptAside.length > 0)
      this.#log.warn({ files: found.keptAside }, 'Left files alone that this version cannot read.');
    if (found.lost > 0) {
      this.#queues.drop('Low', UNIDENTIFIED, 'corrupt', found.lost);
      this.#log.error({ lost: found.lost }, 'Found counts of aggregated events damaged; the rest of them is safe.');
    }
    const recovered = found.windows.map((one) => ({ ...one, window: this.#windowOf(one) }));
    this.#save();
    for (const { window, leaving } of recovered) {
      this.#put(
        window,
        leaving.map((event) => ({ ...event, window })),
      );
      const goesOn = this.#open.get(window.kind.name) === window && this.#isInForce(window);
      if (!goesOn || window.elements.size === 0) this.#release(window, [...window.elements]);
    }
    for (const window of early) this.#release(window, [...window.elements]); // of a name, one window at a time
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

  /** Whether it would be opened like this by the settings in force. */
  #isInForce({ kind: { name }, queue, interval }: Window): boolean {
    const { aggregation, priorities } = this.#settings.current();
    const { enabled, interval: asked } = aggregation[name] ?? {};
    return enabled === true && asked === interval && priorities[name] === queue;
  }
}

const leastFrequent = ({ elements }: Window): Element[] =>
  [...elements].sort((a, b) => a.hits - b.hits || a.last - b.last);

/** Elements by the event they will be in. */
function inEvents(elements: readonly Element[]): Element[][] {
  const events: Element[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const element of elements) {
    const size = Buffer.byteLength(JSON.stringify(counted(element))) + 1;
    if (bytes + size > MOST_BYTES) {
      events.push([]);
      bytes = 0;
    }
    events.at(-1)?.push(element);
    bytes += size;
  }
  return events;
}

const eventOf = (kind: Window['kind'], elements: readonly Element[], time: Date, id: string): OutgoingEvent => ({
  name: kind.name,
  elements: elements.length,
  occurrences: elements.reduce((all, { hits }) => all + hits, 0),
  json: JSON.stringify(envelope(kind, elements.map(counted), time, id)),
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
