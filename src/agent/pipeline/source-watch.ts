import type { Clock } from '../../core/base/clock.ts';
import { type Duration, milliseconds, minutes, seconds } from '../../core/base/duration.ts';
import { messageOf } from '../../core/base/errors.ts';
import type { Logger } from '../../core/base/log.ts';
import { Loop } from '../../core/base/loop.ts';
import type { Service } from '../../core/base/service.ts';
import { untilBeat } from '../../core/base/waiting.ts';
import type { Collector, PeriodicCollector } from '../../core/contract/collector.ts';
import type { Snapshot, SnapshotConsumer } from '../../core/contract/consumers.ts';
import type { Sources } from '../../core/contract/sources.ts';
import { processorTime } from './processor-time.ts';
import type { Snapshots } from './snapshots.ts';

/** How often sources are asked whether they may have changed. */
export const LOOK_EVERY = seconds(4);
/** How often those are listed that can't tell, and those tried again that could not be listed. */
export const LIST_EVERY = minutes(5);
/**
 * A source takes a fiftieth of a processor at most: one that is long, and changes all the time, is looked at less often.
 * Measured in CPU time: on a machine that an attacker keeps under load, wall time says little.
 */
const SHARE = 50;
/** A change is listed when nothing has changed for this time: a firewall that is reloaded is open for a moment. */
const SETTLED_AFTER = milliseconds(500);
const MAX_WAITS = 3;

/** Receives listings. `wants` is called before each look; `failed`, when a listing that it requested failed. */
type ListingConsumer = Pick<SnapshotConsumer, 'wants' | 'accept'> & Partial<Pick<SnapshotConsumer, 'failed'>>;

interface Watched {
  readonly collector: PeriodicCollector;
  readonly trace: NonNullable<PeriodicCollector['trace']>;
  /** Trace of the source just before it was listed. */
  last: string | undefined;
  /** Those that have the last listing, and have requested listings since. */
  shownTo: readonly ListingConsumer[];
  listedAt: Duration;
  /** When it is looked at next. */
  due: Duration;
  /** Why it could not be listed. */
  problem: string | undefined;
}

/**
 * Shows consumers a snapshot between the rounds as soon as its source has changed: what opens a port must not have half a
 * day until the next round. None of these listings is sent or counted. A pause or the priority Off does not stop them.
 */
export class SourceWatch implements Service {
  readonly name = 'source watch';
  readonly #watched: readonly Watched[];
  readonly #sources: Sources;
  readonly #snapshots: Pick<Snapshots, 'showTo' | 'lastRun'>;
  readonly #consumers: readonly ListingConsumer[];
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #loop: Loop;

  constructor(options: {
    /** Those that declare a trace are watched. */
    collectors: readonly Collector[];
    sources: Sources;
    snapshots: Pick<Snapshots, 'showTo' | 'lastRun'>;
    consumers: readonly ListingConsumer[];
    clock: Clock;
    log: Logger;
  }) {
    this.#watched = options.collectors.flatMap(watched);
    this.#sources = options.sources;
    this.#snapshots = options.snapshots;
    this.#consumers = options.consumers;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#loop = new Loop((signal) => this.#turn(signal), options);
  }

  async start(): Promise<void> {
    this.#loop.start();
  }

  /** Waits at most 2 s for the listing that is under way. */
  async stop(): Promise<void> {
    await this.#clock.within(seconds(2), 'the last listing', this.#loop.stop()).catch(() => {});
  }

  async #turn(signal: AbortSignal): Promise<void> {
    await this.#clock.sleep(untilBeat(this.#clock, LOOK_EVERY), signal);
    if (signal.aborted) return;
    const due = this.#watched.filter((watched) => watched.due <= this.#clock.monotonic());
    await Promise.all(due.map((watched) => this.#look(watched, signal)));
  }

  async #look(watched: Watched, signal: AbortSignal): Promise<void> {
    const wanting = this.#consumers.filter((consumer) => consumer.wants(watched.collector.name));
    watched.shownTo = watched.shownTo.filter((consumer) => wanting.includes(consumer));
    if (wanting.length === 0) return;
    const began = this.#clock.monotonic();
    const before = processorTime();
    const now = await watched.trace(this.#sources, signal);
    const looked = processorTime() - before;
    if (signal.aborted) return;
    let listed: Duration | undefined = milliseconds(0);
    if (watched.shownTo.length < wanting.length || isDue(watched, now, began)) {
      // Traced before it is listed: the next poll detects changes made during the listing.
      watched.last = await this.#settled(watched, now, signal);
      if (signal.aborted) return;
      listed = await this.#list(watched, wanting, signal);
      watched.shownTo = listed === undefined ? [] : wanting;
      watched.listedAt = began;
    }
    const wait = listed === undefined ? LIST_EVERY : Math.min((looked + listed) * SHARE, LIST_EVERY);
    watched.due = milliseconds(this.#clock.monotonic() + wait);
  }

  /** The trace when it has stayed the same for a moment, or has changed for too long. */
  async #settled({ trace }: Watched, now: string | undefined, signal: AbortSignal): Promise<string | undefined> {
    let last = now;
    for (let waits = 0; last !== undefined && waits < MAX_WAITS; waits += 1) {
      await this.#clock.sleep(SETTLED_AFTER, signal);
      const again = await trace(this.#sources, signal);
      if (again === last) break;
      last = again;
    }
    return last;
  }

  /** @returns the CPU time that it took; `undefined` if it failed */
  async #list(
    watched: Watched,
    consumers: readonly ListingConsumer[],
    signal: AbortSignal,
  ): Promise<Duration | undefined> {
    const { name } = watched.collector;
    const accept = (snapshot: Snapshot) => {
      for (const consumer of consumers) consumer.accept(snapshot);
    };
    try {
      const used = await this.#snapshots.showTo({ accept }, watched.collector);
      watched.problem = undefined;
      return used;
    } catch (error) {
      if (signal.aborted) return undefined;
      const problem = messageOf(error);
      for (const consumer of consumers) consumer.failed?.(name, problem);
      const isKnown = problem === watched.problem || problem === this.#snapshots.lastRun(name)?.problem;
      watched.problem = problem;
      if (!isKnown) this.#log.warn({ event: name, err: error }, 'Could not take a snapshot.');
      return undefined;
    }
  }
}

const watched = (collector: Collector): Watched[] =>
  collector.category === 'Triggered' || collector.trace === undefined
    ? []
    : [
        {
          collector,
          trace: collector.trace,
          last: undefined,
          shownTo: [],
          listedAt: NOW,
          due: NOW,
          problem: undefined,
        },
      ];

const NOW = milliseconds(0);

const isDue = ({ last, listedAt }: Watched, now: string | undefined, at: Duration): boolean =>
  now === undefined ? at - listedAt >= LIST_EVERY : now !== last;
