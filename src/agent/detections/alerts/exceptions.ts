import { isPlausible } from '../../../core/base/clock.ts';
import { days } from '../../../core/base/duration.ts';
import { type IpNetwork, parseNetwork } from '../../../core/contract/ip-network.ts';
import type { AlertException } from '../../../core/contract/setting-kinds.ts';
import type { Hit } from '../subject.ts';
import { valuesOf } from './hit-fields.ts';
import { isNamed } from './policy.ts';

/** Number of matches of an exception. Times in milliseconds since the epoch. */
interface Use {
  /** JSON of the exception: a modified exception starts again from 0. */
  readonly text: string;
  readonly since: number;
  last: number | undefined;
  count: number;
}

interface Entry {
  readonly id: string;
  readonly exception: AlertException;
  readonly use: Use;
}

/** An exception without a match for this time is shown as unused. */
const UNUSED = days(90);

/** The current exceptions, with the number of matches of each. */
export class Exceptions {
  readonly #uses = new Map<string, Use>();
  /** The exceptions of the last call. */
  #read: { readonly of: object; readonly entries: readonly Entry[] } | undefined;
  readonly #networks = new Networks();
  readonly #changed: () => void;

  /** @param changed called when there is state to save, such as the time since which an exception exists */
  constructor(changed: () => void = () => {}) {
    this.#changed = changed;
  }

  /** Counts a match. @returns the id of the first exception that matches */
  match(hit: Hit, exceptions: Readonly<Record<string, AlertException>>, now: Date): string | undefined {
    for (const { id, exception, use } of this.#entriesOf(exceptions, now)) {
      if (!isNamed(hit.rule, exception.rule) || !isInForce(exception, now) || !covers(exception, hit, this.#networks))
        continue;
      use.count += 1;
      use.last = now.getTime();
      this.#changed();
      return id;
    }
    return undefined;
  }

  /** Number of matches, keyed by id. */
  counts(exceptions: Readonly<Record<string, AlertException>>): Readonly<Record<string, number>> {
    return Object.fromEntries(Object.keys(exceptions).map((id) => [id, this.#uses.get(id)?.count ?? 0]));
  }

  /** Ids of exceptions that have expired, or that matched nothing for 90 days. */
  unused(exceptions: Readonly<Record<string, AlertException>>, now: Date): readonly string[] {
    return this.#entriesOf(exceptions, now).flatMap(({ id, exception, use: { since, last = since } }) =>
      !isInForce(exception, now) || now.getTime() - last >= UNUSED ? [id] : [],
    );
  }

  toJson(): unknown {
    return Object.fromEntries(this.#uses);
  }

  restore(value: unknown): void {
    if (typeof value !== 'object' || value === null) return;
    for (const [id, use] of Object.entries(value).slice(0, MAX_USES)) if (isUse(use)) this.#uses.set(id, { ...use });
    this.#read = undefined;
  }

  /** The same object is parsed only once: settings are frozen, and every hit calls this. */
  #entriesOf(exceptions: Readonly<Record<string, AlertException>>, now: Date): readonly Entry[] {
    if (this.#read?.of !== exceptions) {
      const entries = Object.entries(exceptions).map(([id, exception]) => ({
        id,
        exception,
        use: this.#useOf(id, exception, now),
      }));
      this.#read = { of: exceptions, entries };
    }
    return this.#read.entries;
  }

  #useOf(id: string, exception: AlertException, now: Date): Use {
    const text = JSON.stringify(exception);
    const known = this.#uses.get(id);
    if (known?.text === text) return known;
    const use: Use = { text, since: now.getTime(), last: undefined, count: 0 };
    this.#uses.delete(id);
    this.#uses.set(id, use);
    this.#changed();
    // Drops exceptions that the module twin no longer has, oldest first.
    for (const oldest of this.#uses.keys()) {
      if (this.#uses.size <= MAX_USES) break;
      this.#uses.delete(oldest);
    }
    return use;
  }
}

/** Parsed networks by their CIDR notation. */
export class Networks {
  readonly #networks = new Map<string, IpNetwork | undefined>();

  has(cidr: string, address: string): boolean {
    if (!this.#networks.has(cidr)) {
      if (this.#networks.size >= MAX_USES) this.#networks.clear();
      this.#networks.set(cidr, parseNetwork(cidr));
    }
    return this.#networks.get(cidr)?.has(address) === true;
  }
}

/** Whether an exception applies to a hit of its rule. */
export function covers(
  { field, equals, startsWith, endsWith, cidr }: AlertException,
  hit: Hit,
  networks: Networks,
): boolean {
  return valuesOf(hit, field).some((value) => {
    if (equals !== undefined) return value === equals;
    if (startsWith !== undefined) return value.startsWith(startsWith);
    if (endsWith !== undefined) return value.endsWith(endsWith);
    return cidr !== undefined && networks.has(cidr, value);
  });
}

/** The module twin may have 64; older ones are kept as well. */
const MAX_USES = 256;

/** While the clock is unset, an exception with an end counts as expired: better one alert too many than one too few. */
export const isInForce = ({ until }: AlertException, now: Date): boolean =>
  until === undefined || (isPlausible(now) && now.getTime() < Date.parse(until));

const isUse = (value: unknown): value is Use => {
  if (typeof value !== 'object' || value === null) return false;
  const { text, since, last, count } = value as Record<string, unknown>;
  return (
    typeof text === 'string' &&
    typeof since === 'number' &&
    (last === undefined || typeof last === 'number') &&
    Number.isSafeInteger(count)
  );
};
