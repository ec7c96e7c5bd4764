/**
 * Why an event never reached the hub. `kernel`: lost before it could be read. `malformed`: its record was broken.
 * `unresolved`: what it was about had gone before it could be asked. `killed`: held in memory when the agent was killed.
 * `cacheFull`: evicted, or not taken in, since the queues were full. `unwritable`: the disk was full. `expired`: it waited
 * for longer than `queueAgeLimit`. `tooLarge`: could not be made to fit a message. `refused`: the hub will never take it.
 * `corrupt`: its record on disk was damaged or gone. `memory`: left out while the agent took more memory than its budget.
 * `paused`: skipped while the hub's owner had paused collecting.
 */
export const DROP_REASONS = [
  'kernel',
  'malformed',
  'unresolved',
  'killed',
  'cacheFull',
  'unwritable',
  'expired',
  'tooLarge',
  'refused',
  'corrupt',
  'memory',
  'paused',
] as const;
export type DropReason = (typeof DROP_REASONS)[number];

/** What became of the events of one name, or of all. Closed: collected = delivered + aggregatedAway + dropped + queued. */
export interface Totals {
  collected: number;
  delivered: number;
  /** Occurrences that were merged into an element that stands for several. */
  aggregatedAway: number;
  dropped: Partial<Record<DropReason, number>>;
}

/** The name that losses are counted under when nobody can know which event they would have been. */
export const UNIDENTIFIED = 'Unidentified';

/**
 * The books of one queue, by event name. They only ever grow, and outlive the process: the queue keeps them on disk
 * beside its events. What is queued is not in here; it follows from the queue itself.
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

  /** Of something that was collected already; see `collect` for what never was. */
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

  /** Reads back what `toJSON` gave. What does not fit is left out: it may come from a damaged disk. */
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

const count = (value: unknown): number =>
  Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : 0;

/** All of them together. */
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
