import { type Duration, hours, milliseconds, minutes, seconds } from '../../../core/base/duration.ts';

/** Burst of new alerts, and the time in which one is refilled. */
const OF_RULE = { size: 20, refill: minutes(3) };
const OF_USER = { size: 60, refill: minutes(1) };
/** First alerts of a rule above these limits: more than the number of rules at medium or above. */
const FIRSTS = { size: 120, refill: seconds(30) };
/** A rule without an alert for this time counts as new for the user. */
const FIRST_WINDOW = hours(1);
/** Above this number, the least recently seen user is dropped; likewise for the rules of a user. */
const MAX_USERS = 256;
const MAX_RULES = 128;
/** In UTF-16 units. */
const LONGEST_NAME = 256;

export type Admission = 'raised' | 'ruleLimit' | 'userLimit';

/** A token bucket, refilled over time. */
class Bucket {
  readonly #size: number;
  readonly #refill: Duration;
  #left: number;
  #at: Duration;

  constructor({ size, refill }: { readonly size: number; readonly refill: Duration }, now: Duration, used = 0) {
    this.#size = size;
    this.#refill = refill;
    this.#left = size - Math.min(used, size);
    this.#at = now;
  }

  used(now: Duration): number {
    this.#left = Math.min(this.#size, this.#left + Math.max(0, now - this.#at) / this.#refill);
    this.#at = now;
    return this.#size - this.#left;
  }

  hasOne(now: Duration): boolean {
    return this.used(now) <= this.#size - 1;
  }

  take(now: Duration): void {
    this.used(now);
    this.#left -= 1;
  }
}

interface RuleUse {
  readonly bucket: Bucket;
  raisedAt: Duration;
}

interface User {
  readonly all: Bucket;
  readonly firsts: Bucket;
  /** Keyed by rule, least recently used first. */
  readonly rules: Map<string, RuleUse>;
}

/**
 * Limits the new alerts that each user may cause: a burst of 20 per rule and 60 in total, then 20 and 60 per hour. The first alert
 * of a rule within an hour may exceed both. No user's alerts count against another user's.
 */
export class UserLimits {
  /** Least recently seen user first. */
  readonly #users = new Map<string, User>();

  /** @param alwaysFirst whether the first alert of this rule and user may exceed the limits */
  admit(user: string, rule: string, { alwaysFirst, now }: { alwaysFirst: boolean; now: Duration }): Admission {
    const { all, firsts, rules } = this.#userOf(user.slice(0, LONGEST_NAME), now);
    const name = rule.slice(0, LONGEST_NAME);
    const known = rules.get(name);
    const use = known ?? { bucket: new Bucket(OF_RULE, now), raisedAt: now };
    const exceeded = !use.bucket.hasOne(now) ? 'ruleLimit' : !all.hasOne(now) ? 'userLimit' : undefined;
    if (exceeded === undefined) {
      use.bucket.take(now);
      all.take(now);
    } else {
      const isFirst = known === undefined || now - known.raisedAt >= FIRST_WINDOW;
      if (!isFirst || !alwaysFirst || !firsts.hasOne(now)) return exceeded;
      firsts.take(now);
    }
    use.raisedAt = now;
    renew(rules, name, use, MAX_RULES);
    return 'raised';
  }

  /** Drops full buckets. */
  forgetIdle(now: Duration): void {
    for (const [user, { all, firsts, rules }] of this.#users) {
      for (const [rule, { bucket, raisedAt }] of rules)
        if (bucket.used(now) === 0 && now - raisedAt >= FIRST_WINDOW) rules.delete(rule);
      if (rules.size === 0 && all.used(now) === 0 && firsts.used(now) === 0) this.#users.delete(user);
    }
  }

  #userOf(name: string, now: Duration): User {
    const user = this.#users.get(name) ?? {
      all: new Bucket(OF_USER, now),
      firsts: new Bucket(FIRSTS, now),
      rules: new Map<string, RuleUse>(),
    };
    renew(this.#users, name, user, MAX_USERS);
    return user;
  }

  /** For the state on disk. */
  toJson(now: Duration): unknown {
    return [...this.#users].map(([name, { all, firsts, rules }]) => [
      name,
      all.used(now),
      firsts.used(now),
      [...rules].map(([rule, { bucket, raisedAt }]) => [rule, bucket.used(now), now - raisedAt]),
    ]);
  }

  /** Restores the state from `toJson`; damaged parts are ignored. @param passed milliseconds since then */
  restore(value: unknown, now: Duration, passed: number): void {
    const then = milliseconds(now - passed);
    for (const [name, all, firsts, rules] of rowsOf(value, MAX_USERS)) {
      if (typeof name !== 'string' || !isAmount(all) || !isAmount(firsts)) continue;
      const uses = rowsOf(rules, MAX_RULES).flatMap(([rule, used, age]): [string, RuleUse][] => {
        if (typeof rule !== 'string' || !isAmount(used) || !isAmount(age)) return [];
        return [[rule, { bucket: new Bucket(OF_RULE, then, used), raisedAt: milliseconds(then - age) }]];
      });
      const buckets = { all: new Bucket(OF_USER, then, all), firsts: new Bucket(FIRSTS, then, firsts) };
      this.#users.set(name, { ...buckets, rules: new Map(uses) });
    }
  }
}

const isAmount = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value) && value >= 0;

const rowsOf = (value: unknown, most: number): readonly (readonly unknown[])[] =>
  Array.isArray(value) ? value.filter((row) => Array.isArray(row)).slice(-most) : [];

/** Makes an entry the newest, and drops the oldest ones beyond `most`. */
function renew<T>(map: Map<string, T>, name: string, value: T, most: number): void {
  map.delete(name);
  map.set(name, value);
  for (const oldest of map.keys()) {
    if (map.size <= most) break;
    map.delete(oldest);
  }
}
