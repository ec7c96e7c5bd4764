import { type Clock, isPlausible } from '../../core/base/clock.ts';
import type { DropReason } from '../../core/base/counters.ts';
import { type Duration, hours, milliseconds, minutes, NEVER, seconds } from '../../core/base/duration.ts';
import { messageOf } from '../../core/base/errors.ts';
import { Lane } from '../../core/base/lane.ts';
import type { Logger } from '../../core/base/log.ts';
import { keepGoing } from '../../core/base/loop.ts';
import type { Service } from '../../core/base/service.ts';
import { TokenBucket } from '../../core/base/token-bucket.ts';
import { Alarm, Turn } from '../../core/base/waiting.ts';
import type { Collector, LeavesOut, PeriodicCollector } from '../../core/contract/collector.ts';
import type { Snapshot, SnapshotConsumer } from '../../core/contract/consumers.ts';
import type { Payload, QueueName } from '../../core/contract/event.ts';
import type { SettingsReader } from '../../core/contract/settings.ts';
import type { ListingStatus, SourceStatus, Sources } from '../../core/contract/sources.ts';
import type { OutgoingEvent } from '../../core/contract/store.ts';
import { snapshotEvent } from './envelope.ts';
import {
  type FittedRows,
  fitRows,
  labelled,
  MAX_SNAPSHOT_MESSAGE_BYTES,
  type RowLimits,
  rowLimits,
} from './fit-rows.ts';
import { processorTime } from './processor-time.ts';
import type { EventQueues } from './queue.ts';
import { shorten } from './shorten.ts';

/** Time limit of a snapshot: the slowest ones take some seconds. */
const LIMIT = minutes(2);

/**
 * Delay before a failed snapshot is taken again, since the next round may be half a day away. Doubled with each failure in
 * a row.
 */
const FIRST_RETRY = minutes(1);
const LAST_RETRY = hours(1);
/** If the next round is due within this time, there is no extra retry. */
const SOON = minutes(10);

/**
 * Limit for snapshots between the rounds, of each collector: frequent changes of the settings or calls of a method must not
 * cause a scan and a message each.
 */
const BETWEEN_ROUNDS = { max: 3, perSecond: 1 / 300 };

const STOPPING: SnapshotResult = { problem: 'the agent is stopping' };
const LEFT_OUT: Partial<Record<DropReason, string>> = {
  paused: 'collecting is paused',
  memory: 'the agent uses more memory than its budget',
};

/** The result of a collector's last run. */
export interface LastRun {
  readonly at: Date;
  /** Why it failed. */
  readonly problem?: string;
  /** Number of elements, including those left out; absent if the run failed. */
  readonly elements?: number;
  /** The source of the facts, if there are several; and what is missing in the snapshot. */
  readonly source?: SourceStatus;
}

/** The result of a snapshot: how many elements it has, or why it failed. */
export type SnapshotResult = { readonly elements: number } | { readonly problem: string };

/** Runs the Periodic collectors: all of them at the start, then once per snapshot frequency. */
export class Snapshots implements Service {
  readonly name = 'snapshots';
  readonly #collectors: readonly PeriodicCollector[];
  readonly #sources: Sources;
  readonly #settings: SettingsReader;
  readonly #queues: Pick<EventQueues, 'put' | 'drop'>;
  readonly #leavesOut: LeavesOut;
  readonly #bytesPerDay: (queue: QueueName) => number;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #consumers: SnapshotConsumer[] = [];
  readonly #lastRuns = new Map<string, LastRun>();
  /**
   * Collectors to run before the next round: they were switched on, a change of settings outdated their last snapshot, or
   * they were left out when it was their turn.
   */
  readonly #pending = new Set<string>();
  /** Keyed by collector. */
  readonly #betweenRounds: ReadonlyMap<string, TokenBucket>;
  /** Failed snapshots: how often they failed in a row, and when the next attempt is due. */
  readonly #retries = new Map<string, { readonly failures: number; readonly due: Duration }>();
  readonly #alarm = new Alarm();
  readonly #stop = new AbortController();
  readonly #changed: () => void;
  /** When the last round began. */
  #began: Duration | undefined;
  #loop: Promise<void> = Promise.resolve();
  /** In which snapshots are taken. */
  readonly #lane = new Lane();

  constructor(options: {
    collectors: readonly Collector[];
    sources: Sources;
    settings: SettingsReader;
    queues: Pick<EventQueues, 'put' | 'drop'>;
    /** If omitted, no event is skipped. */
    leavesOut?: LeavesOut;
    /** Bytes that messages of a queue may have in a day. Default: no limit. */
    bytesPerDay?: (queue: QueueName) => number;
    clock: Clock;
    log: Logger;
    /** Called after every round. */
    changed: () => void;
  }) {
    this.#collectors = options.collectors.filter((collector) => collector.category === 'Periodic');
    const { clock } = options;
    this.#betweenRounds = new Map(
      this.#collectors.map(({ name }) => [name, new TokenBucket({ ...BETWEEN_ROUNDS, clock })]),
    );
    this.#sources = options.sources;
    this.#settings = options.settings;
    this.#queues = options.queues;
    this.#leavesOut = options.leavesOut ?? (() => undefined);
    this.#bytesPerDay = options.bytesPerDay ?? (() => Number.POSITIVE_INFINITY);
    this.#clock = options.clock;
    this.#log = options.log;
    this.#changed = options.changed;
    options.settings.onChange((before) => {
      const now = options.settings.current();
      for (const collector of this.#collectors) {
        const [was, is] = [before.priorities[collector.name], now.priorities[collector.name]];
        if (is !== 'Off' && (was === 'Off' || collector.isOutdated?.(before, now))) this.#pending.add(collector.name);
      }
      this.#alarm.ring();
    });
  }

  /** Adds a consumer, which gets each requested snapshot before it is queued. Call this before the start. */
  offerTo(consumer: SnapshotConsumer): void {
    this.#consumers.push(consumer);
  }

  async start(): Promise<void> {
    const { signal } = this.#stop;
    this.#loop = keepGoing(() => this.#turn(signal), { signal, clock: this.#clock, log: this.#log });
  }

  /** Waits at most 2 s for the snapshot that is being taken; its result is then discarded. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#clock.within(seconds(2), 'the last snapshot', this.#loop).catch(() => {});
  }

  /** Takes the skipped snapshots. Call this when the reason for skipping them may have cleared. */
  catchUp(): void {
    this.#alarm.ring();
  }

  /**
   * Takes snapshots now, one after the other and after any in progress; the schedule of the rounds is unchanged.
   *
   * @param events names of Periodic events
   */
  async takeNow(events: readonly string[]): Promise<Readonly<Record<string, SnapshotResult>>> {
    const taken: Record<string, SnapshotResult> = {};
    for (const collector of this.#collectors) {
      if (events.includes(collector.name)) taken[collector.name] = await this.#take(collector, this.#stop.signal);
    }
    this.#changed();
    return taken;
  }

  /** Like `takeNow`, for callers that may call it in a loop: a collector beyond its limit between the rounds is left out. */
  async takeOnRequest(events: readonly string[]): Promise<Readonly<Record<string, SnapshotResult>>> {
    const refused: Record<string, SnapshotResult> = {};
    for (const name of events) {
      const limit = this.#betweenRounds.get(name);
      if (limit === undefined || limit.take()) continue;
      const left = Math.ceil(limit.wait() / seconds(1));
      refused[name] = { problem: `it was taken ${BETWEEN_ROUNDS.max} times in a row; call again in ${left} s` };
    }
    return { ...(await this.takeNow(events.filter((name) => refused[name] === undefined))), ...refused };
  }

  /**
   * Creates a snapshot for one consumer only, after any in progress: it is not sent and does not affect the rounds.
   *
   * @returns the CPU time that this process used for it, without that of earlier snapshots
   * @throws the error of the source, or that the agent is stopping
   */
  async showTo(consumer: Pick<SnapshotConsumer, 'accept'>, collector: PeriodicCollector): Promise<Duration> {
    return this.#lane.run(async () => {
      const before = processorTime();
      consumer.accept(await this.#snapshot(collector, this.#clock.now(), this.#stop.signal));
      return milliseconds(processorTime() - before);
    });
  }

  lastRun(event: string): LastRun | undefined {
    return this.#lastRuns.get(event);
  }

  /**
   * Takes a round when it is due: the frequency now in force after the beginning of the last one. Otherwise sleeps, and
   * runs collectors that were switched on in the meantime or are no longer skipped: the next round may be half a day away. Each of
   * them runs up to three times in a row, and then once in five minutes.
   *
   * A round that throws counts as begun, so that a defect doesn't cause a round every second.
   */
  async #turn(signal: AbortSignal): Promise<void> {
    const now = this.#clock.monotonic();
    const due = this.#began === undefined ? now : this.#began + this.#settings.current().snapshotFrequency;
    if (due <= now) {
      this.#began = now;
      return this.#round(this.#collectors, signal);
    }
    // A skipped collector is not retried until `catchUp` is called.
    const wanted = this.#collectors.filter((collector) => !this.#isLeftOut(collector));
    const next = Math.min(due, ...wanted.map((collector) => this.#nextOf(collector) ?? due));
    await this.#alarm.sleep(this.#clock, milliseconds(Math.max(0, next - now)), signal);
    const pending = this.#collectors.filter((collector) => !this.#isLeftOut(collector) && this.#isDue(collector));
    if (pending.length > 0) await this.#round(pending, signal);
  }

  /** When a collector runs before the next round, if it does. Monotonic clock. */
  #nextOf({ name }: PeriodicCollector): Duration | undefined {
    const retry = this.#retries.get(name)?.due;
    const wait = this.#pending.has(name) ? this.#betweenRounds.get(name)?.wait() : undefined;
    if (wait === undefined) return retry;
    return milliseconds(Math.min(this.#clock.monotonic() + wait, retry ?? NEVER));
  }

  async #round(collectors: readonly PeriodicCollector[], signal: AbortSignal): Promise<void> {
    for (const collector of collectors) {
      this.#pending.delete(collector.name);
      if (!signal.aborted) await this.#take(collector, signal);
    }
    this.#changed();
  }

  /** Whether a collector runs now, before the next round. Call this once per round: it is counted. */
  #isDue({ name }: PeriodicCollector): boolean {
    const retry = this.#retries.get(name);
    if (retry !== undefined && retry.due <= this.#clock.monotonic()) return true;
    return this.#pending.has(name) && this.#betweenRounds.get(name)?.take() === true;
  }

  #isLeftOut(collector: PeriodicCollector): boolean {
    return this.#leavesOut(collector, this.#settings.current().priorities[collector.name] ?? 'Off') !== undefined;
  }

  #take(collector: PeriodicCollector, signal: AbortSignal): Promise<SnapshotResult> {
    return this.#lane.run(() => this.#takeAlone(collector, signal));
  }

  /** @throws the error of the source, the signal's reason when it has aborted */
  async #snapshot(collector: PeriodicCollector, at: Date, signal: AbortSignal): Promise<Snapshot> {
    const { name: event } = collector;
    signal.throwIfAborted();
    const rows = await this.#clock.within(LIMIT, `the snapshot ${event}`, collector.collect(this.#sources, signal));
    signal.throwIfAborted();
    const {
      leftOut = 0,
      leftOutBy,
      ...source
    } = collector.sourceStatus?.(this.#sources) ?? ({} as Partial<ListingStatus>);
    const { state } = source;
    return {
      event,
      at,
      rows,
      leftOut,
      ...(leftOutBy === undefined ? {} : { leftOutBy }),
      ...(state === undefined ? {} : { source: { ...source, state } }),
    };
  }

  async #takeAlone(collector: PeriodicCollector, signal: AbortSignal): Promise<SnapshotResult> {
    const { name } = collector;
    const failures = this.#retries.get(name)?.failures ?? 0;
    this.#retries.delete(name);
    const queue = this.#queueFor(collector);
    const consumers = this.#consumers.filter((consumer) => consumer.wants(name));
    if (typeof queue !== 'string' && consumers.length === 0) return queue;
    const at = this.#clock.now();
    let isShown = false;
    try {
      const snapshot = await this.#snapshot(collector, at, signal);
      const { rows: payload, leftOut, source = {} } = snapshot;
      isShown = true;
      for (const consumer of consumers) consumer.accept(snapshot);
      if (typeof queue !== 'string') return queue;
      const limits = rowLimits(collector, this.#settings.current(), {
        bytesPerDay: this.#bytesPerDay(queue),
        isClockSet: isPlausible(at),
      });
      const fitted = await fitRows(payload, limits, this.#clock);
      const parts = labelled({ ...fitted, omittedRows: fitted.omittedRows + leftOut });
      const events = await this.#eventsOf(collector, parts, at, limits);
      if (signal.aborted) return STOPPING;
      // One call, so that the parts stay together and in order.
      if (this.#queues.put(queue, events) < events.length) throw new Error(NOT_QUEUED);
      const elements = (collector.count?.(payload) ?? payload.length) + leftOut;
      this.#lastRuns.set(name, { at, elements, ...withOmissions(source, fitted) });
      return { elements };
    } catch (error) {
      if (signal.aborted) return STOPPING;
      if (!isShown) for (const consumer of consumers) consumer.failed(name, messageOf(error));
      if (this.#lastRuns.get(name)?.problem !== messageOf(error)) {
        this.#log.warn({ event: name, err: error }, 'Could not take a snapshot.');
      }
      this.#retryLater(name, failures + 1);
      this.#lastRuns.set(name, { at, problem: messageOf(error) });
      return { problem: messageOf(error) };
    }
  }

  /**
   * The queue for a snapshot, or why it is not sent. A snapshot that is skipped for now is counted, and
   * retried when the reason no longer applies.
   */
  #queueFor(collector: PeriodicCollector): QueueName | { readonly problem: string } {
    const { name } = collector;
    const priority = this.#settings.current().priorities[name] ?? 'Off';
    if (priority === 'Off') return { problem: 'its priority is Off in the module twin' };
    const reason = this.#leavesOut(collector, priority);
    if (reason === undefined) return priority;
    this.#pending.add(name);
    this.#queues.drop(priority, name, reason, 1);
    return { problem: LEFT_OUT[reason] ?? reason };
  }

  #retryLater(name: string, failures: number): void {
    const now = this.#clock.monotonic();
    const nextRound = (this.#began ?? now) + this.#settings.current().snapshotFrequency;
    if (nextRound - now <= SOON) return;
    const wait = Math.min(FIRST_RETRY * 2 ** (failures - 1), LAST_RETRY);
    this.#retries.set(name, { failures, due: milliseconds(now + wait) });
    this.#alarm.ring();
  }

  /** One event for each part. Writing a part takes some milliseconds, so other work runs in between. */
  async #eventsOf(
    collector: PeriodicCollector,
    parts: readonly (readonly Payload[])[],
    at: Date,
    { partBytes }: RowLimits,
  ): Promise<readonly OutgoingEvent[]> {
    const turn = new Turn(this.#clock);
    const events: OutgoingEvent[] = [];
    for (const rows of parts) {
      const event = snapshotEvent(collector, rows, at);
      // Only a single row can be as large. It fits into no message, and the store limits the size of records.
      const json = event.json.length > MAX_SNAPSHOT_MESSAGE_BYTES ? shorten(event.json, partBytes) : event.json;
      events.push({ ...event, json: json ?? event.json });
      if (turn.isOver()) await turn.next();
    }
    return events;
  }
}

const NOT_QUEUED = 'the queues have no space for the whole snapshot';

/** A collector whose snapshot is incomplete is `degraded`; the reason has the numbers. */
function withOmissions(
  source: Partial<SourceStatus>,
  { parts, omittedRows, omittedDetails }: FittedRows,
): { source?: SourceStatus } {
  const { state, ...rest } = source;
  const rows = parts.reduce((all, part) => all + part.length, 0) + omittedRows;
  const messages = parts.length === 1 ? 'a message' : `${parts.length} messages`;
  const reasons = [
    ...(source.reason === undefined ? [] : [source.reason]),
    ...(omittedRows === 0
      ? []
      : [`${omittedRows} of ${rows} elements are not sent: they do not fit into ${messages}.`]),
    ...(omittedDetails === 0 ? [] : [`${omittedDetails} elements are sent without ExtraDetails, for the same reason.`]),
  ];
  if (omittedRows === 0 && omittedDetails === 0) return state === undefined ? {} : { source: { state, ...rest } };
  return { source: { ...rest, state: state === 'unavailable' ? state : 'degraded', reason: reasons.join(' ') } };
}
