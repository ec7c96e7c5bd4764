import { UNIDENTIFIED } from '../../core/base/counters.ts';
import type { Logger } from '../../core/base/log.ts';
import { stableId } from '../../core/base/stable-id.ts';
import {
  type Collector,
  type LeavesOut,
  MalformedRecordError,
  type TriggeredCollector,
} from '../../core/contract/collector.ts';
import type { Occurrence, OccurrenceBatch, OccurrenceConsumer } from '../../core/contract/consumers.ts';
import type { Payload, QueueName } from '../../core/contract/event.ts';
import { ownerOfPayload } from '../../core/contract/owner.ts';
import type { SettingsReader } from '../../core/contract/settings.ts';
import type { OutgoingEvent } from '../../core/contract/store.ts';
import type { LossReason, StreamName } from '../../core/contract/streams.ts';
import type { Aggregator } from './aggregator.ts';
import { occurrenceEvent } from './envelope.ts';
import type { MemoryLimit } from './memory-limit.ts';
import type { EventQueues } from './queue.ts';
import type { UserLoad } from './user-load.ts';

const ALERT = 'SecurityAlert';
const MIN_EVENT_CHARACTERS = 500;

/**
 * The first stage of the pipeline for Triggered events: makes an event of each occurrence, or adds it to the aggregator.
 * The only stage that handles priority `Off`, a pause, and events left out for lack of memory.
 */
export class Triggers implements OccurrenceConsumer {
  readonly #collectors: ReadonlyMap<string, TriggeredCollector>;
  readonly #settings: SettingsReader;
  readonly #aggregator: Pick<Aggregator, 'add'>;
  readonly #queues: Pick<EventQueues, 'put' | 'drop' | 'positions'>;
  readonly #origin: string;
  readonly #leavesOut: LeavesOut;
  readonly #leavesOutOwner: MemoryLimit['leavesOutOwner'];
  readonly #load: Pick<UserLoad, 'count'> | undefined;
  readonly #log: Logger;
  readonly #followers = new Set<(name: string, payload: Payload) => void>();
  /** Errors already logged: event name and kind of error. */
  readonly #logged = new Set<string>();

  constructor(options: {
    collectors: readonly Collector[];
    settings: SettingsReader;
    aggregator: Pick<Aggregator, 'add'>;
    queues: Pick<EventQueues, 'put' | 'drop' | 'positions'>;
    /** Names this agent and this boot of its machine. */
    origin: string;
    /** If omitted, no event is skipped. */
    leavesOut?: LeavesOut;
    /** Whether the events of an owner are left out for lack of memory; by default, none are. */
    leavesOutOwner?: MemoryLimit['leavesOutOwner'];
    /** Counts what each user's events take. */
    load?: Pick<UserLoad, 'count'>;
    log: Logger;
  }) {
    const triggered = options.collectors.filter((collector) => collector.category === 'Triggered');
    this.#collectors = new Map(triggered.map((collector) => [collector.name, collector]));
    this.#settings = options.settings;
    this.#aggregator = options.aggregator;
    this.#queues = options.queues;
    this.#origin = options.origin;
    this.#leavesOut = options.leavesOut ?? (() => undefined);
    this.#leavesOutOwner = options.leavesOutOwner ?? (() => false);
    this.#load = options.load;
    this.#log = options.log;
  }

  /** Accepts occurrences of each event that isn't `Off`; during a pause they are only counted. */
  wants(event: string): boolean {
    return this.#queueOf(event) !== undefined;
  }

  accept(batch: OccurrenceBatch): void {
    const queue = this.#queueOf(batch.event);
    const collector = this.#collectors.get(batch.event);
    if (queue === undefined || collector === undefined) return;
    const reason = this.#leavesOut(collector, queue);
    if (reason === undefined) this.#take(collector, queue, batch.occurrences());
    else if (batch.count() > 0) this.#queues.drop(queue, collector.name, reason, batch.count());
    for (const error of batch.broken) this.#skip(collector, queue, error);
  }

  /**
   * Makes events that must reach the hub whatever the module twin says: with priority High even if theirs is `Off`, and
   * also while events are left out.
   *
   * @returns the position of the last of them in the High queue; `undefined` when there was no space
   */
  announce(batch: OccurrenceBatch): number | undefined {
    const collector = this.#collectors.get(batch.event);
    if (collector === undefined) return undefined;
    let position: number | undefined;
    for (const { payload, time } of batch.occurrences()) {
      this.#show(collector, payload);
      const { next } = this.#queues.positions('High');
      const stored = this.#queues.put('High', [occurrenceEvent(collector, payload, time)]);
      position = stored > 0 ? next : undefined;
    }
    return position;
  }

  /** Calls `follower` with each payload, until the returned function is called. */
  follow(follower: (name: string, payload: Payload) => void): () => void {
    this.#followers.add(follower);
    return () => this.#followers.delete(follower);
  }

  /** Counts losses for the event of the stream; as Unidentified if several events are possible. Ignores events that are Off. */
  lost(streams: readonly StreamName[], reason: LossReason, count: number): void {
    const { priorities } = this.#settings.current();
    const affected = [...this.#collectors.values()].filter(
      ({ name, stream }) => priorities[name] !== 'Off' && streams.includes(stream),
    );
    if (affected.length === 0) return; // read for other consumers
    const queue = affected.some(({ name }) => priorities[name] === 'High') ? 'High' : 'Low';
    const [only] = affected;
    const name = streams.length === 1 && affected.length === 1 && only !== undefined ? only.name : UNIDENTIFIED;
    this.#queues.drop(queue, name, reason, count);
  }

  /** @returns `undefined` when the event is off */
  #queueOf(event: string): QueueName | undefined {
    const priority = this.#settings.current().priorities[event];
    return priority === 'Off' ? undefined : priority;
  }

  #take(collector: TriggeredCollector, queue: QueueName, occurrences: readonly Occurrence[]): void {
    const isAggregated = this.#settings.current().aggregationEnabled[collector.name] === true;
    const events: OutgoingEvent[] = [];
    for (const occurrence of occurrences) {
      const { payload, time } = occurrence;
      try {
        this.#show(collector, payload);
        const owner = ownerOfPayload(payload);
        this.#load?.count(owner, sizeOf(payload));
        if (this.#leavesOutOwner(owner, collector, queue)) this.#queues.drop(queue, collector.name, 'memory', 1);
        else if (isAggregated) this.#aggregator.add(collector, queue, payload, time);
        else {
          const event = occurrenceEvent(collector, payload, time, this.idOf(occurrence));
          // Alerts have limits of their own; the flood that raises one must not keep it out of the queue.
          events.push(collector.name === ALERT ? event : { ...event, owner });
        }
      } catch (error) {
        this.#skip(collector, queue, error); // the others stay
      }
    }
    if (events.length > 0) this.#queues.put(queue, events);
  }

  #show({ name }: TriggeredCollector, payload: Payload): void {
    for (const follower of this.#followers) follower(name, payload);
  }

  /**
   * The id of an event that may be read again: after kill -9 the audit log is read again from the last checkpoint. An
   * event that was already queued gets the same id again. `undefined`: the id is random.
   */
  idOf({ event, time, serial }: Occurrence): string | undefined {
    return serial === undefined ? undefined : stableId(`${this.#origin} ${event} ${time.getTime()} ${serial}`);
  }

  /** Counts a broken record. Only the first of its kind is logged: a user who can cause one can cause any number. */
  #skip({ name }: TriggeredCollector, queue: QueueName, error: unknown): void {
    this.#queues.drop(queue, name, 'malformed', 1);
    const broken = error instanceof MalformedRecordError;
    const kind = `${name} ${broken ? 'broken' : 'defect'}`;
    if (this.#logged.has(kind)) return;
    this.#logged.add(kind);
    if (broken)
      this.#log.debug({ event: name, err: error }, 'Skipped a broken record; the next ones are only counted.');
    else this.#log.error({ event: name, err: error }, 'Could not translate a record; the next ones are only counted.');
  }
}

/** About how much memory an event takes, in characters. */
function sizeOf(payload: Payload): number {
  let size = MIN_EVENT_CHARACTERS;
  for (const field in payload) {
    const value = payload[field];
    if (typeof value === 'string') size += value.length;
  }
  return size;
}
