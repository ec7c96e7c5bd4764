import type { Clock } from '../../../base/clock.ts';
import { type Duration, milliseconds } from '../../../base/duration.ts';
import { TimeBudget } from '../../../host/time-budget.ts';

/** Of one core, for all hashing, and what is saved up for a burst. */
export const SHARE = 0.02;
const BURST = milliseconds(100);
/** What is kept of the burst for root's programs: nobody else can spend it. */
const ROOT_RESERVE = milliseconds(40);
/** The same for one user other than root, who so leaves half of the time to the others. */
const USER_SHARE = SHARE / 2;
const USER_BURST = milliseconds(40);
/** Users whose time is known apart. One that is forgotten begins anew, within what all have together. */
const MOST_USERS = 64;

/** Who a program was started by, for whom time is counted: a user id, root's being 0. */
export type Payer = number;
export const ROOT: Payer = 0;

/** The time that one user has for digests of his programs. */
export interface Allowance {
  readonly payer: Payer;
  /** Negative when the last work took longer than there was time for. */
  left(): Duration;
  /** How long to wait until that much is there, if nobody else spends it meanwhile. */
  untilThereIs(wanted: Duration): Duration;
  /** Pays for what has been done since then. @returns the time it is now */
  pay(since: Duration): Duration;
  /** What large files leave of it to small ones. */
  readonly reserved: Duration;
}

/**
 * Time for digests: a fiftieth of one core for all, of which root can spend all, and each other user half, and nothing
 * of what is kept for root. So no user can use up what digests of others' programs take, whatever he starts.
 */
export class HashingTime {
  readonly #clock: Clock;
  readonly #all: TimeBudget;
  readonly #root: Allowance;
  /** The one that was added last stands at the end. */
  readonly #users = new Map<Payer, Allowance>();

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#all = new TimeBudget(clock, SHARE, BURST);
    const all = this.#all;
    this.#root = {
      payer: ROOT,
      reserved: milliseconds(BURST / 2),
      left: () => all.left(),
      untilThereIs: (wanted) => all.untilThereIs(wanted),
      pay: (since) => all.pay(since),
    };
  }

  of(payer: Payer): Allowance {
    if (payer === ROOT) return this.#root;
    const known = this.#users.get(payer);
    if (known !== undefined) return known;
    const added = this.#add(payer);
    this.#users.set(payer, added);
    if (this.#users.size > MOST_USERS) {
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
        milliseconds(Math.max(all.untilThereIs(milliseconds(wanted + ROOT_RESERVE)), own.untilThereIs(wanted))),
      pay(since) {
        all.pay(since);
        return own.pay(since);
      },
    };
  }
}
