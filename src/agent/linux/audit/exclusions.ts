import { type Duration, milliseconds, minutes, seconds } from '../../../core/base/duration.ts';
import { type OwnerLoad, recordsOf } from './user-load.ts';

/** How long an exclusion lasts at first; each one that follows soon lasts twice as long. */
const FIRST = minutes(1);
const LONGEST = minutes(8);
/** An exclusion this long after another one is a first one again. */
const FORGOTTEN_AFTER = minutes(10);
/** At least that long, so that rules do not change every second. */
const SHORTEST = seconds(10);
/** Excluded starts a second below which a flood is over. */
const FEW_STARTS = 50;

/** Only users whose starts have this share of the records that were read, and at least this many, are excluded. */
const MIN_SHARE = 0.2;
const MIN_RECORDS = 150;
const MAX_EXCLUDED = 8;
const MAX_REMEMBERED = 64;

const ROOT = 0;

interface Exclusion {
  readonly since: Duration;
  readonly until: Duration;
  readonly length: Duration;
}

/** The state of the kernel's queue. */
export interface Pressure {
  /** Events are being lost, or soon will be. */
  readonly isHigh: boolean;
  /** The owners of the records that arrived lately, the one with most first. */
  readonly owners: readonly OwnerLoad[];
  /** Excluded starts a second. */
  readonly excludedRate: number;
}

/**
 * Decides whose starts the kernel leaves out while it loses events: the starts of the users who make most of the records. An exclusion
 * ends after a minute, or when the flood is over; if the losses come back, it is repeated, and lasts twice as long each time.
 * Never root's.
 */
export class Exclusions {
  readonly #current = new Map<number, Exclusion>();
  /** The last exclusions, of owners that may not be excluded now. */
  readonly #last = new Map<number, Exclusion>();

  /** The excluded owners. */
  get owners(): readonly number[] {
    return [...this.#current.keys()];
  }

  /** When the exclusion of this owner ends. */
  endOf(owner: number): Duration | undefined {
    return this.#current.get(owner)?.until;
  }

  /** Ends exclusions, or begins some. @returns the owners that are excluded from now on */
  look(now: Duration, pressure: Pressure): readonly OwnerLoad[] {
    const hasLifted = this.#lift(now, pressure);
    const added = pressure.isHigh && !hasLifted ? this.#candidates(pressure) : [];
    for (const { owner } of added) this.#exclude(owner, now);
    return added;
  }

  /** Ends all exclusions. */
  clear(): void {
    this.#current.clear();
  }

  #lift(now: Duration, { excludedRate }: Pressure): boolean {
    const before = this.#current.size;
    for (const [owner, { since, until }] of this.#current) {
      const isQuiet = now - since >= SHORTEST && excludedRate < FEW_STARTS;
      if (now >= until || isQuiet) this.#current.delete(owner);
    }
    return this.#current.size < before;
  }

  #candidates({ owners }: Pressure): readonly OwnerLoad[] {
    const enough = Math.max(MIN_RECORDS, recordsOf(owners) * MIN_SHARE);
    return owners
      .filter(({ owner, ofStarts }) => owner !== ROOT && ofStarts >= enough)
      .filter(({ owner }) => !this.#current.has(owner))
      .slice(0, MAX_EXCLUDED - this.#current.size);
  }

  #exclude(owner: number, now: Duration): void {
    const last = this.#last.get(owner);
    const isRepeated = last !== undefined && now - last.until < FORGOTTEN_AFTER;
    const length = isRepeated ? milliseconds(Math.min(LONGEST, last.length * 2)) : FIRST;
    const exclusion = { since: now, until: milliseconds(now + length), length };
    this.#current.set(owner, exclusion);
    this.#last.delete(owner);
    if (this.#last.size >= MAX_REMEMBERED) this.#last.delete(this.#last.keys().next().value as number);
    this.#last.set(owner, exclusion);
  }
}
