import type { Clock } from '../../../core/base/clock.ts';
import { type Duration, hours, milliseconds, minutes } from '../../../core/base/duration.ts';
import type { Fields, Subject } from '../subject.ts';
import { agentChange } from './agent-events.ts';

/** A collector as it stands now. */
export interface WatchedCollector {
  readonly name: string;
  readonly category: 'Periodic' | 'Triggered';
  readonly state: 'on' | 'off' | 'degraded' | 'unavailable';
  readonly reason?: string;
}

/** How long a source may be unavailable before it counts as lost: sources are opened again after seconds. */
const GRACE = minutes(2);
const SILENT = hours(24);
/** Programs start on every system within a day; that nobody logs in is normal. */
const EXPECTED_DAILY = new Set(['ProcessCreate', 'ProcessTerminate', 'ConnectionCreate']);

interface Watched {
  /** Whether it ever gave an event or a snapshot, also in earlier runs. */
  gave: boolean;
  /** By the monotonic clock. */
  lastSeen: Duration;
  /** Since when it has been unavailable. */
  downSince: Duration | undefined;
  told: 'lost' | 'silent' | undefined;
}

/**
 * Notices that a collector which gave events gives none: `lost`, its source is gone; `silent`, no event in 24 h, or no snapshot
 * in twice their period. Each is told once, until the collector gives events again. Only time counts in which the agent runs.
 */
export class CollectorWatch {
  readonly #clock: Pick<Clock, 'now' | 'monotonic'>;
  readonly #snapshotPeriod: () => Duration;
  readonly #watched = new Map<string, Watched>();

  constructor(options: { clock: Pick<Clock, 'now' | 'monotonic'>; snapshotPeriod: () => Duration }) {
    this.#clock = options.clock;
    this.#snapshotPeriod = options.snapshotPeriod;
  }

  /** To be called for each batch of events, and for each snapshot that was taken. */
  saw(event: string): void {
    const watched = this.#of(event);
    watched.gave = true;
    watched.lastSeen = this.#clock.monotonic();
    watched.told = undefined;
  }

  /**
   * To be called every few minutes.
   *
   * @param isPaused whether collecting is paused, or events are not asked for, so that nothing can be expected
   */
  check(collectors: readonly WatchedCollector[], isPaused: boolean): Subject[] {
    return collectors.flatMap((collector) => {
      const watched = this.#of(collector.name);
      const state = this.#judge(collector, watched, isPaused);
      if (state === undefined || watched.told === state) return [];
      watched.told = state;
      const { name: Collector, reason } = collector;
      const fields: Fields = { Collector, State: state, ...(reason === undefined ? {} : { Reason: reason }) };
      return [agentChange(fields, { event: 'CollectorStatus', at: this.#clock.now() })];
    });
  }

  /** For the state on disk: the collectors that gave events. */
  toJson(): unknown {
    return [...this.#watched].flatMap(([name, { gave }]) => (gave ? [name] : []));
  }

  restore(value: unknown): void {
    if (!Array.isArray(value)) return;
    for (const name of value.slice(0, MAX_COLLECTORS)) if (typeof name === 'string') this.#of(name).gave = true;
  }

  #judge(collector: WatchedCollector, watched: Watched, isPaused: boolean): Watched['told'] {
    const now = this.#clock.monotonic();
    if (collector.state !== 'unavailable') watched.downSince = undefined;
    if (collector.state === 'off' || isPaused) {
      watched.lastSeen = now;
      watched.told = undefined;
      return undefined;
    }
    if (!watched.gave) return undefined;
    if (collector.state === 'unavailable') {
      watched.downSince ??= now;
      return now - watched.downSince >= GRACE ? 'lost' : undefined;
    }
    if (watched.told === 'lost') watched.told = undefined;
    return now - watched.lastSeen >= this.#limitOf(collector) ? 'silent' : undefined;
  }

  #limitOf({ name, category }: WatchedCollector): Duration {
    if (category === 'Periodic') return milliseconds(this.#snapshotPeriod() * 2);
    return EXPECTED_DAILY.has(name) ? SILENT : milliseconds(Number.POSITIVE_INFINITY);
  }

  #of(name: string): Watched {
    const known = this.#watched.get(name);
    if (known !== undefined) return known;
    const watched: Watched = { gave: false, lastSeen: this.#clock.monotonic(), downSince: undefined, told: undefined };
    this.#watched.set(name, watched);
    return watched;
  }
}

/** The agent has some 20. */
const MAX_COLLECTORS = 64;
