import { isCount } from './values.ts';

/**
 * Why an event never reached the hub. `kernel`: lost before it could be read. `malformed`: its record was broken.
 * `unresolved`: its process or socket no longer existed when its details were read. `killed`: held in memory when the
 * agent was killed. `cacheFull`: evicted or rejected because the queues were full; for Diagnostic, also a log line of
 * the agent above the limits for such lines (log-tap.ts). `userShare`: its user already held their share of a queue.
 * `unwritable`: the disk was full. `expired`: it waited longer than `queueAgeLimit`. `tooLarge`: it does not fit into a
 * message. `refused`: the hub will never accept it. `corrupt`: its record on disk was damaged or missing. `memory`: not
 * collected while the agent exceeded its memory budget. `paused`: not collected while the hub's owner had paused
 * collecting. `notRouted`: queued before `messageRouting` was changed to `security`, whose messages may not contain it.
 * `excluded`: a start that audit did not report, since its user flooded audit.
 */
export const DROP_REASONS = [
  'kernel',
  'malformed',
  'unresolved',
  'killed',
  'cacheFull',
  'userShare',
  'unwritable',
  'expired',
  'tooLarge',
  'refused',
  'corrupt',
  'memory',
  'paused',
  'notRouted',
  'excluded',
] as const;
export type DropReason = (typeof DROP_REASONS)[number];

/** Counts of events by outcome, for one name or for all. collected = delivered + aggregatedAway + dropped + queued. */
export interface Totals {
  collected: number;
  delivered: number;
  /** Occurrences that were merged into an element that represents several. */
  aggregatedAway: number;
  dropped: Partial<Record<DropReason, number>>;
}

/** The name under which losses are counted if it is unknown which event they would have become. */
export const UNIDENTIFIED = 'Unidentified';

/**
 * The accounts of one queue, by event name. Counts never decrease and survive restarts: the queue stores them on disk
 * with its events. Queued events are not counted here; their number follows from the queue itself.
 */
export class Account {
  readonly #rows = new Map<string, Totals>();

  collect(name: string, count: number): void {
    this.#row(name).collected += count;
  }

  deliver(name: string, count: number): void {
    this.#row(name).delivered += count;
  }

  aggregateAway(name: string, count: number): void {
    this.#row(name).aggregatedAway += count;
  }

  /** The events must have been counted by `collect` before. */
  drop(name: string, reason: DropReason, count: number): void {
    const { dropped } = this.#row(name);
    dropped[reason] = (dropped[reason] ?? 0) + count;
  }

  /** A copy, by event name. */
  byEvent(): Record<string, Totals> {
    return Object.fromEntries([...this.#rows].map(([name, row]) => [name, { ...row, dropped: { ...row.dropped } }]));
  }

  totals(): Totals {
    return sum([...this.#rows.values()]);
  }

  toJSON(): Record<string, Totals> {
    return this.byEvent();
  }

  /** Reads the output of `toJSON`. Invalid values are ignored: the file may be damaged. */
  static from(value: unknown): Account {
    const account = new Account();
    if (typeof value !== 'object' || value === null) return account;
    for (const [name, row] of Object.entries(value as Record<string, Partial<Totals> | null>)) {
      account.collect(name, count(row?.collected));
      account.deliver(name, count(row?.delivered));
      account.aggregateAway(name, count(row?.aggregatedAway));
      for (const reason of DROP_REASONS) {
        const dropped = count(row?.dropped?.[reason]);
        if (dropped > 0) account.drop(name, reason, dropped);
      }
    }
    return account;
  }

  #row(name: string): Totals {
    const known = this.#rows.get(name);
    if (known !== undefined) return known;
    const row: Totals = { collected: 0, delivered: 0, aggregatedAway: 0, dropped: {} };
    this.#rows.set(name, row);
    return row;
  }
}

const count = (value: unknown): number => (isCount(value) ? value : 0);

export function sum(all: readonly Totals[]): Totals {
  const total: Totals = { collected: 0, delivered: 0, aggregatedAway: 0, dropped: {} };
  for (const row of all) {
    total.collected += row.collected;
    total.delivered += row.delivered;
    total.aggregatedAway += row.aggregatedAway;
    for (const [reason, dropped] of Object.entries(row.dropped) as [DropReason, number][]) {
      total.dropped[reason] = (total.dropped[reason] ?? 0) + dropped;
    }
  }
  return total;
}

export const droppedIn = ({ dropped }: Totals): number => Object.values(dropped).reduce((all, n) => all + n, 0);
