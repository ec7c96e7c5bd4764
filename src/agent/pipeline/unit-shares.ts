import * as v from 'valibot';
import { isUser, type Use } from './event-owner.ts';

/** Owners whose use is remembered. A user can act as few of them, so more than this are not needed to find who uses most. */
const MAX_OWNERS = 64;
/** Pairs of owner and rule. */
const MAX_PAIRS = 512;

const units = v.pipe(v.number(), v.minValue(0));
const Used = v.object({ all: units, low: units, reserve: units });
/** What owners have used, as it is saved. */
export const KeptShares = v.record(v.pipe(v.string(), v.maxLength(256)), Used);

type Used = v.InferOutput<typeof Used>;
const NONE: Used = { all: 0, low: 0, reserve: 0 };

/** The message units that each owner has used today. */
export class UnitShares {
  readonly #used = new Map<string, Used>();
  /** Owners with rules whose alerts the reserve has paid for, oldest first. */
  readonly #served = new Set<string>();

  /** @param units of a message with these events; negative to take back */
  count(units: number, uses: readonly Use[], isFromReserve: boolean): void {
    const bytes = uses.reduce((all, use) => all + use.bytes, 0);
    for (const use of uses) {
      const share = (units * use.bytes) / bytes;
      const { all, low, reserve } = this.of(use.owner);
      this.#used.set(use.owner, {
        all: Math.max(0, all + share),
        low: Math.max(0, low + (use.queue === 'Low' ? share : 0)),
        reserve: Math.max(0, reserve + (isFromReserve ? share : 0)),
      });
      if (isFromReserve && units > 0) this.#serve(pairOf(use.owner, use.rule));
    }
    if (this.#used.size > MAX_OWNERS) this.#forget();
  }

  of(owner: string): Used {
    return this.#used.get(owner) ?? NONE;
  }

  /** Whether the reserve has paid for an alert of this rule about this owner. */
  isServed(owner: string, rule: string): boolean {
    return this.#served.has(pairOf(owner, rule));
  }

  /** The user that has used most, or the containers. */
  most(): { readonly owner: string; readonly units: number } | undefined {
    const users = [...this.#used].filter(([owner, { all }]) => isUser(owner) && all > 0);
    const [first] = users.sort(([, a], [, b]) => b.all - a.all);
    return first && { owner: first[0], units: first[1].all };
  }

  clear(): void {
    this.#used.clear();
    this.#served.clear();
  }

  toJson(): v.InferOutput<typeof KeptShares> {
    return Object.fromEntries([...this.#used].map(([owner, used]) => [owner, rounded(used)]));
  }

  restore(kept: v.InferOutput<typeof KeptShares>): void {
    this.clear();
    for (const [owner, used] of Object.entries(kept).slice(0, MAX_OWNERS)) this.#used.set(owner, used);
  }

  #serve(pair: string): void {
    this.#served.add(pair);
    for (const oldest of this.#served) {
      if (this.#served.size <= MAX_PAIRS) break;
      this.#served.delete(oldest);
    }
  }

  /** Forgets the owners that used least. */
  #forget(): void {
    const least = [...this.#used].sort(([, a], [, b]) => a.all - b.all).slice(0, this.#used.size - MAX_OWNERS);
    for (const [owner] of least) this.#used.delete(owner);
  }
}

/** In UTF-16 units. */
const LONGEST_RULE = 256;

const pairOf = (owner: string, rule: string): string => `${owner}\n${rule.slice(0, LONGEST_RULE)}`;

const rounded = (used: Used): Used => ({
  all: Number(used.all.toFixed(2)),
  low: Number(used.low.toFixed(2)),
  reserve: Number(used.reserve.toFixed(2)),
});
