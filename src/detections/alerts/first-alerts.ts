import { type Duration, hours, milliseconds } from '../../base/duration.ts';

/** What counts as one time. */
const WINDOW = hours(1);
/** Alerts above the limits, of all users together. */
const MAX_ALERTS_ABOVE_LIMITS = 60;

/** One that was raised above the limits. */
interface Extra {
  readonly user: string;
  readonly at: Duration;
}

/**
 * Which rules raised an alert for which user within the hour. The first of both may be raised above the limits: whoever uses
 * the limits up must not keep alerts of other rules, or about other users, from being told. Of one user as many as are still
 * free, so at most half of them.
 */
export class FirstAlerts {
  /** By rule and user, the oldest first. */
  readonly #raised = new Map<string, Duration>();
  #extra: readonly Extra[] = [];

  /** To be called for each alert that is raised within the limits. */
  raised(rule: string, user: string, now: Duration): void {
    this.#forget(now);
    const key = keyOf(rule, user);
    this.#raised.delete(key);
    this.#raised.set(key, now);
  }

  /** Whether an alert may be raised above the limits; it counts as raised then. */
  admits(rule: string, user: string, now: Duration): boolean {
    this.#forget(now);
    if (this.#raised.has(keyOf(rule, user))) return false;
    const ofUser = this.#extra.filter((extra) => extra.user === user).length;
    if (ofUser >= MAX_ALERTS_ABOVE_LIMITS - this.#extra.length) return false;
    this.#extra = [...this.#extra, { user, at: now }];
    this.raised(rule, user, now);
    return true;
  }

  #forget(now: Duration): void {
    for (const [key, at] of this.#raised) {
      if (now - at < WINDOW) break;
      this.#raised.delete(key);
    }
    this.#extra = this.#extra.filter(({ at }) => now - at < WINDOW);
  }

  /** For the state on disk. */
  toJson(now: Duration): unknown {
    this.#forget(now);
    return {
      raised: [...this.#raised].map(([key, at]) => [key, now - at]),
      extra: this.#extra.map(({ user, at }) => [user, now - at]),
    };
  }

  /** Continues with what `toJson` returned; a damaged value is ignored. @param passed since then */
  restore(value: unknown, now: Duration, passed: number): void {
    const { raised, extra } = (value ?? {}) as Record<string, unknown>;
    const at = (age: number) => milliseconds(now - age - passed);
    for (const [key, age] of pairsOf(raised)) this.#raised.set(key, at(age));
    this.#extra = pairsOf(extra).map(([user, age]) => ({ user, at: at(age) }));
  }
}

/** In UTF-16 units. */
const MAX_NAME_CHARACTERS = 256;
/** More than can be raised in an hour. */
const MAX_SAVED = 512;

const keyOf = (rule: string, user: string): string =>
  `${rule.slice(0, MAX_NAME_CHARACTERS)}\n${user.slice(0, MAX_NAME_CHARACTERS)}`;

const isPair = (pair: unknown): pair is [string, number] =>
  Array.isArray(pair) && typeof pair[0] === 'string' && Number.isFinite(pair[1]) && pair[1] >= 0;

const pairsOf = (pairs: unknown): [string, number][] =>
  Array.isArray(pairs) ? pairs.slice(-MAX_SAVED).filter(isPair) : [];
