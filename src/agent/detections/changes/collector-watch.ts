import type { Clock } from '../../../core/base/clock.ts';
import { type Duration, hours, milliseconds, minutes } from '../../../core/base/duration.ts';
import type { Fields, Subject } from '../subject.ts';
import { agentChange } from './change.ts';

/** Current state of a collector. */
export interface WatchedCollector {
  readonly name: string;
  readonly category: 'Periodic' | 'Triggered';
  readonly state: 'on' | 'off' | 'degraded' | 'unavailable';
  readonly reason?: string;
}

/** How long a source may be unavailable before it counts as lost: sources are normally reopened after seconds. */
const GRACE = minutes(2);
const SILENT = hours(24);
/** Every system starts programs within a day; a day without logins is normal. */
const EXPECTED_DAILY = new Set(['ProcessCreate', 'ProcessTerminate', 'ConnectionCreate']);

interface Watched {
  /** Whether it ever delivered an event or a snapshot, including earlier runs. */
  hasDelivered: boolean;
  /** On the monotonic clock. */
  lastSeen: Duration;
  /** Start of the unavailability. */
  downSince: Duration | undefined;
  reported: 'lost' | 'silent' | undefined;
}

/**
 * Detects collectors that stopped delivering: `lost` if the source is unavailable; `silent` after 24 h without an event, or twice
 * the period without a snapshot. Each is reported once, until events arrive again. Only the agent's running time counts.
 */
export class CollectorWatch {
  readonly #clock: Pick<Clock, 'now' | 'monotonic'>;
  readonly #snapshotPeriod: () => Duration;
  readonly #watched = new Map<string, Watched>();

  constructor(options: { clock: Pick<Clock, 'now' | 'monotonic'>; snapshotPeriod: () => Duration }) {
    this.#clock = options.clock;
    this.#snapshotPeriod = options.snapshotPeriod;
  }

  /** Call this for each batch of events, and for each snapshot. */
  saw(event: string): void {
    const watched = this.#of(event);
    watched.hasDelivered = true;
    watched.lastSeen = this.#clock.monotonic();
    watched.reported = undefined;
  }

  /**
   * Call this every few minutes.
   *
   * @param isPaused whether collection is paused or the events are not requested, so that none can be expected
   */
  check(collectors: readonly WatchedCollector[], isPaused: boolean): Subject[] {
    return collectors.flatMap((collector) => {
      const watched = this.#of(collector.name);
      const state = this.#stateOf(collector, watched, isPaused);
      if (state === undefined || watched.reported === state) return [];
      watched.reported = state;
      const { name: Collector, reason } = collector;
      const fields: Fields = { Collector, State: state, ...(reason === undefined ? {} : { Reason: reason }) };
      return [agentChange(fields, { event: 'CollectorStatus', at: this.#clock.now() })];
    });
  }

  /** For the state on disk: the collectors that have delivered events. */
  toJson(): unknown {
    return [...this.#watched].flatMap(([name, { hasDelivered }]) => (hasDelivered ? [name] : []));
  }

  restore(value: unknown): void {
    if (!Array.isArray(value)) return;
    for (const name of value.slice(0, MAX_COLLECTORS)) if (typeof name === 'string') this.#of(name).hasDelivered = true;
  }

  #stateOf(collector: WatchedCollector, watched: Watched, isPaused: boolean): Watched['reported'] {
    const now = this.#clock.monotonic();
    if (collector.state !== 'unavailable') watched.downSince = undefined;
    if (collector.state === 'off' || isPaused) {
      watched.lastSeen = now;
      watched.reported = undefined;
      return undefined;
    }
    if (!watched.hasDelivered) return undefined;
    if (collector.state === 'unavailable') {
      watched.downSince ??= now;
      return now - watched.downSince >= GRACE ? 'lost' : undefined;
    }
    if (watched.reported === 'lost') watched.reported = undefined;
    return now - watched.lastSeen >= this.#limitOf(collector) ? 'silent' : undefined;
  }

  #limitOf({ name, category }: WatchedCollector): Duration {
    if (category === 'Periodic') return milliseconds(this.#snapshotPeriod() * 2);
    return EXPECTED_DAILY.has(name) ? SILENT : milliseconds(Number.POSITIVE_INFINITY);
  }

  #of(name: string): Watched {
    const known = this.#watched.get(name);
    if (known !== undefined) return known;
    const watched: Watched = {
      hasDelivered: false,
      lastSeen: this.#clock.monotonic(),
      downSince: undefined,
      reported: undefined,
    };
    this.#watched.set(name, watched);
    return watched;
  }
}

/** The agent has about 20. */
const MAX_COLLECTORS = 64;
