import type { Clock } from '../../core/base/clock.ts';
import { type Duration, seconds } from '../../core/base/duration.ts';
import { hasLimitedShare } from '../../core/contract/owner.ts';

const HALVED_EVERY = seconds(30);
const MAX_USERS = 256;
/** Below this, a user is dropped when the figures are halved. */
const FEW_BYTES = 4 * 1024;
/** Smallest part of the load of a user whose events are worth leaving out. */
const HEAVY = 1 / 10;

/** How many bytes of events each user has caused lately, to find the users who caused most. Bounded in memory. */
export class UserLoad {
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #bytes = new Map<string, number>();
  #all = 0;
  #halvedAt: Duration;

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock;
    this.#halvedAt = clock.monotonic();
  }

  count(owner: string | undefined, bytes: number): void {
    this.#halve();
    this.#all += bytes;
    if (!hasLimitedShare(owner)) return;
    const [oldest] = this.#bytes.keys();
    if (this.#bytes.size >= MAX_USERS && oldest !== undefined && !this.#bytes.has(owner)) this.#bytes.delete(oldest);
    this.#bytes.set(owner, (this.#bytes.get(owner) ?? 0) + bytes);
  }

  /** The user who caused most, apart from those in `except`; `undefined` if none of the others caused a tenth. Never root. */
  heaviest(except: ReadonlySet<string>): string | undefined {
    this.#halve();
    let heaviest: string | undefined;
    let most = HEAVY * this.#all;
    for (const [owner, bytes] of this.#bytes) {
      if (bytes <= most || except.has(owner)) continue;
      heaviest = owner;
      most = bytes;
    }
    return heaviest;
  }

  #halve(): void {
    const times = Math.floor((this.#clock.monotonic() - this.#halvedAt) / HALVED_EVERY);
    if (times === 0) return;
    this.#halvedAt = this.#clock.monotonic();
    const factor = 2 ** -times;
    this.#all *= factor;
    for (const [owner, bytes] of this.#bytes) {
      if (bytes * factor < FEW_BYTES) this.#bytes.delete(owner);
      else this.#bytes.set(owner, bytes * factor);
    }
  }
}
