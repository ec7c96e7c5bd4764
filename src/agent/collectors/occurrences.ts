import type { Collector, TriggeredCollector } from '../../core/contract/collector.ts';
import type { Occurrence, OccurrenceBatch, OccurrenceConsumer } from '../../core/contract/consumers.ts';
import type { Lookups } from '../../core/contract/lookups.ts';
import type { LossReason, StreamName, StreamSink, Streams } from '../../core/contract/streams.ts';

/** The lookups for records that are only counted. */
const NO_LOOKUPS: Lookups = {
  newBatch: () => {},
  userName: () => undefined,
  containerId: () => undefined,
  started: () => ({ containerId: undefined, sha256: undefined, hashOmitted: undefined }),
  interfaceName: () => undefined,
};

/**
 * Translates the sources' records to occurrences of events, and offers them to consumers. The collectors of the records' stream
 * translate a batch only if a consumer requests their event.
 */
export class Occurrences implements StreamSink {
  readonly #collectors: readonly TriggeredCollector[];
  readonly #lookups: Lookups;
  readonly #consumers: OccurrenceConsumer[] = [];

  constructor({ collectors, lookups }: { collectors: readonly Collector[]; lookups: Lookups }) {
    this.#collectors = collectors.filter((collector) => collector.category === 'Triggered');
    this.#lookups = lookups;
  }

  /** Adds a consumer. Consumers get each batch in the order in which they were added. */
  offerTo(consumer: OccurrenceConsumer): void {
    this.#consumers.push(consumer);
  }

  /** Streams of the events that consumers currently request. */
  streams(): ReadonlySet<StreamName> {
    const wanted = this.#collectors.filter(({ name }) => this.#consumers.some((consumer) => consumer.wants(name)));
    return new Set(wanted.map(({ stream }) => stream));
  }

  accept<K extends StreamName>(stream: K, records: readonly Streams[K][]): void {
    this.#lookups.newBatch();
    for (const collector of this.#collectors) {
      if (collector.stream !== stream) continue;
      let batch: OccurrenceBatch | undefined;
      for (const consumer of this.#consumers) {
        if (!consumer.wants(collector.name)) continue;
        batch ??= new Batch(collector, records, this.#lookups);
        consumer.accept(batch);
      }
    }
  }

  drop(stream: StreamName | readonly StreamName[], reason: LossReason, count: number): void {
    const streams = typeof stream === 'string' ? [stream] : stream;
    for (const consumer of this.#consumers) consumer.lost(streams, reason, count);
  }

  isBehind(): boolean {
    return this.#consumers.some((consumer) => consumer.isBehind?.() === true);
  }

  /** Translates records without consumers: a batch for each event of the stream. */
  translate<K extends StreamName>(stream: K, records: readonly Streams[K][]): readonly OccurrenceBatch[] {
    return this.#collectors
      .filter((collector) => collector.stream === stream)
      .map((collector) => new Batch(collector, records, this.#lookups));
  }
}

class Batch implements OccurrenceBatch {
  readonly event: string;
  readonly #collector: TriggeredCollector;
  readonly #records: readonly Streams[StreamName][];
  readonly #lookups: Lookups;
  #occurrences: readonly Occurrence[] | undefined;
  #count: number | undefined;
  #broken: readonly unknown[] = [];

  constructor(collector: TriggeredCollector, records: readonly Streams[StreamName][], lookups: Lookups) {
    this.event = collector.name;
    this.#collector = collector;
    this.#records = records;
    this.#lookups = lookups;
  }

  get broken(): readonly unknown[] {
    return this.#broken;
  }

  occurrences(): readonly Occurrence[] {
    this.#occurrences ??= this.#translate(this.#lookups);
    return this.#occurrences;
  }

  count(): number {
    this.#count ??= (this.#occurrences ?? this.#translate(NO_LOOKUPS)).length;
    return this.#count;
  }

  /** Adds an untranslatable record to `broken`; the others are still translated. */
  #translate(lookups: Lookups): readonly Occurrence[] {
    const { name: event, stream } = this.#collector;
    const occurrences: Occurrence[] = [];
    const broken: unknown[] = [];
    for (const record of this.#records) {
      try {
        const payload = this.#collector.translate(record, lookups);
        if (payload === undefined) continue;
        const serial = 'serial' in record ? record.serial : undefined;
        const argv = 'argv' in record ? record.argv : undefined;
        occurrences.push({
          event,
          payload,
          time: record.time,
          serial,
          stream,
          ...(argv === undefined ? {} : { argv }),
        });
      } catch (error) {
        broken.push(error);
      }
    }
    this.#broken = broken;
    return occurrences;
  }
}
