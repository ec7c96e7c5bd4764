import type { Clock } from '../../core/base/clock.ts';
import { type Duration, milliseconds } from '../../core/base/duration.ts';

/** A time budget: a share of all time, which can be saved up to a maximum for bursts. */
export class TimeBudget {
  readonly #clock: Clock;
  readonly #share: number;
  readonly #max: Duration;
  #left: number;
  #filledAt: Duration;

  /**
   * @param share of all time, between 0 and 1
   * @param max the maximum that is saved up; available at the start
   */
  constructor(clock: Clock, share: number, max: Duration) {
    this.#clock = clock;
    this.#share = share;
    this.#max = max;
    this.#left = max;
    this.#filledAt = clock.monotonic();
  }

  /** The time available; negative when the last work exceeded it. */
  left(): Duration {
    const now = this.#clock.monotonic();
    this.#left = Math.min(this.#max, this.#left + (now - this.#filledAt) * this.#share);
    this.#filledAt = now;
    return milliseconds(this.#left);
  }

  /** How long to wait until this much time is available. */
  delayFor(wanted: Duration): Duration {
    return milliseconds(Math.max(0, (wanted - this.left()) / this.#share));
  }

  /** Deducts the time since `since`. @returns the current time */
  pay(since: Duration): Duration {
    const now = this.#clock.monotonic();
    this.#left -= now - since;
    return now;
  }
}

/** Share of one core for all hashing, and what is saved up for bursts. */
export const SHARE = 0.02;
const BURST = milliseconds(100);
/** Part of the burst that is reserved for root's programs. */
const ROOT_RESERVE = milliseconds(40);
/** The same for each user other than root: half of the time is left to others. */
const USER_SHARE = SHARE / 2;
const USER_BURST = milliseconds(40);
/** Users whose budgets are kept. A user who was dropped starts with a full budget, within the common one. */
const MAX_USERS = 64;

/** The user whose budget is charged: a user id, root's being 0. */
export type Payer = number;
export const ROOT: Payer = 0;

/** The time that is available for digests of one user's programs. */
export interface Allowance {
  readonly payer: Payer;
  /** Negative when the last work exceeded the budget. */
  left(): Duration;
  /** How long to wait until this much time is available, if no other user spends it. */
  untilThereIs(wanted: Duration): Duration;
  /** Deducts the time since `since`. @returns the current time */
  pay(since: Duration): Duration;
  /** The part for small files that large files must leave. */
  readonly reserved: Duration;
}

/**
 * Time budgets for digests: a fiftieth of one core in all. Root can spend all of it; every other user half, without
 * the share reserved for root. So no user can use up the time that digests of other users' programs take.
 */
export class HashingTime {
  readonly #clock: Clock;
  readonly #all: TimeBudget;
  readonly #root: Allowance;
  /** In the order in which they were added. */
  readonly #users = new Map<Payer, Allowance>();

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#all = new TimeBudget(clock, SHARE, BURST);
    const all = this.#all;
    this.#root = {
      payer: ROOT,
      reserved: milliseconds(BURST / 2),
      left: () => all.left(),
      untilThereIs: (wanted) => all.delayFor(wanted),
      pay: (since) => all.pay(since),
    };
  }

  of(payer: Payer): Allowance {
    if (payer === ROOT) return this.#root;
    const known = this.#users.get(payer);
    if (known !== undefined) return known;
    const added = this.#add(payer);
    this.#users.set(payer, added);
    if (this.#users.size > MAX_USERS) {
      for (const oldest of this.#users.keys()) {
        this.#users.delete(oldest);
        break;
      }
    }
    return added;
  }

  #add(payer: Payer): Allowance {
    const all = this.#all;
    const own = new TimeBudget(this.#clock, USER_SHARE, USER_BURST);
    return {
      payer,
      reserved: milliseconds(USER_BURST / 2),
      left: () => milliseconds(Math.min(all.left() - ROOT_RESERVE, own.left())),
      untilThereIs: (wanted) =>
        milliseconds(Math.max(all.delayFor(milliseconds(wanted + ROOT_RESERVE)), own.delayFor(wanted))),
      pay(since) {
        all.pay(since);
        return own.pay(since);
      },
    };
  }
}
