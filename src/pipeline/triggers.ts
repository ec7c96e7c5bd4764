import { type DropReason, UNIDENTIFIED } from '../base/counters.ts';
import type { Logger, LogLine } from '../base/log.ts';
import {
  type Collector,
  type LeavesOut,
  MalformedRecordError,
  type TriggeredCollector,
} from '../contract/collector.ts';
import type { Payload, QueueName } from '../contract/event.ts';
import type { SettingsReader } from '../contract/settings.ts';
import type { Lookups, LossReason, StreamName, StreamSink, Streams } from '../contract/sources.ts';
import type { OutgoingEvent } from '../contract/store.ts';
import type { Aggregator } from './aggregator.ts';
import { occurrenceEvent } from './envelope.ts';
import type { EventQueues } from './queue.ts';
import { stableId } from './stable-id.ts';

/** For what is only counted: nothing is looked up. */
const NO_LOOKUPS: Lookups = {
  newBatch: () => {},
  userName: () => undefined,
  containerId: () => undefined,
  started: () => ({ containerId: undefined, sha256: undefined, hashOmitted: undefined }),
  interfaceName: () => undefined,
};

/** Turns what the sources read into events: each record is shown to every collector of its stream that is on. */
export class Triggers implements StreamSink {
  readonly #collectors: readonly TriggeredCollector[];
  readonly #settings: SettingsReader;
  readonly #lookups: Lookups;
  readonly #aggregator: Pick<Aggregator, 'add'>;
  readonly #queues: Pick<EventQueues, 'put' | 'drop'>;
  readonly #origin: string;
  readonly #leavesOut: LeavesOut;
  readonly #log: Logger;
  readonly #followers = new Set<(name: string, payload: Payload) => void>();
  /** What has been logged: the name of an event and what kind of trouble its records make. */
  readonly #said = new Set<string>();

  constructor(options: {
    collectors: readonly Collector[];
    settings: SettingsReader;
    lookups: Lookups;
    aggregator: Pick<Aggregator, 'add'>;
    queues: Pick<EventQueues, 'put' | 'drop'>;
    /** Names this agent and this boot of its machine. */
    origin: string;
    /** Absent: none are. */
    leavesOut?: LeavesOut;
    log: Logger;
  }) {
    this.#collectors = options.collectors.filter((collector) => collector.category === 'Triggered');
    this.#settings = options.settings;
    this.#lookups = options.lookups;
    this.#aggregator = options.aggregator;
    this.#queues = options.queues;
    this.#origin = options.origin;
    this.#leavesOut = options.leavesOut ?? (() => undefined);
    this.#log = options.log;
  }

  /** The streams of the collectors that are on. */
  streams(): ReadonlySet<StreamName> {
    const { priorities } = this.#settings.current();
    return new Set(this.#collectors.flatMap(({ name, stream }) => (priorities[name] === 'Off' ? [] : [stream])));
  }

  accept<K extends StreamName>(stream: K, records: readonly Streams[K][]): void {
    const { priorities, aggregation } = this.#settings.current();
    this.#lookups.newBatch();
    for (const collector of this.#collectors) {
      const priority = priorities[collector.name];
      if (collector.stream !== stream || priority === undefined || priority === 'Off') continue;
      const reason = this.#leavesOut(collector, priority);
      if (reason !== undefined) {
        this.#count(collector, priority, reason, records);
        continue;
      }
      const aggregated = aggregation[collector.name]?.enabled === true;
      const events: OutgoingEvent[] = [];
      for (const record of records) {
        try {
          const payload = collector.translate(record, this.#lookups);
          if (payload === undefined) continue;
          for (const follower of this.#followers) follower(collector.name, payload);
          if (aggregated) this.#aggregator.add(collector, priority, payload, record.time);
          else events.push(occurrenceEvent(collector, payload, record.time, this.#idOf(collector, record)));
        } catch (error) {
          this.#skip(collector, priority, error); // it costs itself, never its neighbours
        }
      }
      if (events.length > 0) this.#queues.put(priority, events);
    }
  }

  /**
   * Makes events of a line that must reach the hub whatever the twin says: of priority High even when Diagnostic is Off,
   * and also while events are left out.
   */
  announce(line: LogLine): void {
    for (const collector of this.#collectors) {
      if (collector.stream !== 'log') continue;
      const payload = collector.translate(line, this.#lookups);
      if (payload === undefined) continue;
      for (const follower of this.#followers) follower(collector.name, payload);
      this.#queues.put('High', [occurrenceEvent(collector, payload, line.time)]);
    }
  }

  /** Shows every payload as it comes, until the returned function is called. */
  follow(follower: (name: string, payload: Payload) => void): () => void {
    this.#followers.add(follower);
    return () => this.#followers.delete(follower);
  }

  /** Counted for the one event that the stream feeds. Nobody knows which event it would have been of several streams. */
  drop(stream: StreamName | readonly StreamName[], reason: LossReason, count: number): void {
    const { priorities } = this.#settings.current();
    const streams = typeof stream === 'string' ? [stream] : stream;
    const affected = this.#collectors.filter(
      (collector) => priorities[collector.name] !== 'Off' && streams.includes(collector.stream),
    );
    const queue = affected.some(({ name }) => priorities[name] === 'High') ? 'High' : 'Low';
    const [only] = affected;
    const name = streams.length === 1 && affected.length === 1 && only !== undefined ? only.name : UNIDENTIFIED;
    this.#queues.drop(queue, name, reason, count);
  }

  /**
   * The id of what may be told again. Audit's log is read again from the last mark after kill -9; what had been queued
   * by then has the same id both times.
   */
  #idOf({ name }: Collector, record: Streams[StreamName]): string | undefined {
    if (!('serial' in record) || record.serial === undefined) return undefined;
    return stableId(`${this.#origin} ${name} ${record.time.getTime()} ${record.serial}`);
  }

  /** Counts what is left out: as many as would have been collected, by the shortest way that tells. */
  #count(
    collector: TriggeredCollector,
    queue: QueueName,
    reason: DropReason,
    records: readonly Streams[StreamName][],
  ): void {
    let count = 0;
    for (const record of records) {
      try {
        if (collector.translate(record, NO_LOOKUPS) !== undefined) count += 1;
      } catch (error) {
        this.#skip(collector, queue, error);
      }
    }
    if (count > 0) this.#queues.drop(queue, collector.name, reason, count);
  }

  /** Counts a broken record. The first of its kind is logged: whoever can cause one can cause any number. */
  #skip({ name }: TriggeredCollector, queue: QueueName, error: unknown): void {
    this.#queues.drop(queue, name, 'malformed', 1);
    const broken = error instanceof MalformedRecordError;
    const kind = `${name} ${broken ? 'broken' : 'defect'}`;
    if (this.#said.has(kind)) return;
    this.#said.add(kind);
    if (broken)
      this.#log.debug({ event: name, err: error }, 'Skipped a broken record; the next ones are only counted.');
    else this.#log.error({ event: name, err: error }, 'Could not translate a record; the next ones are only counted.');
  }
}
