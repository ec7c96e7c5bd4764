import type { Clock } from '../../core/base/clock.ts';
import { type Duration, hours, minutes } from '../../core/base/duration.ts';
import type { AgentError } from '../../core/base/errors.ts';
import { type Logger, logError } from '../../core/base/log.ts';

/** Minimum interval of an error that alternates with another one, such as the errors of a hub's two ports. */
const AGAIN_AFTER = minutes(10);
const LONGEST_PAUSE = hours(1);
/** Limit of lines per id within the longest pause: a remedy can quote values from outside. */
const MAX_LINES_PER_ID = 6;

/**
 * Logs an error once, again when it changes, and at most hourly while it stays the same (contract §7); each at most every
 * ten minutes. Errors differ if their id or remedy differs: a lost connection, and a hub that can't be reached after
 * that, have the same id.
 */
export class RepeatedErrorLog {
  readonly #clock: Clock;
  readonly #log: Logger;
  #lastId: string | undefined;
  /** When each error was last logged, keyed by id and remedy. */
  readonly #logged = new Map<string, { readonly id: string; readonly at: Duration }>();

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
  }

  /** @returns whether it was logged */
  log(error: AgentError): boolean {
    const now = this.#clock.monotonic();
    for (const [key, { at }] of this.#logged) if (now - at >= LONGEST_PAUSE) this.#logged.delete(key);
    const { id, remedy } = error;
    const pause = this.#lastId === id ? LONGEST_PAUSE : AGAIN_AFTER;
    this.#lastId = id;
    const key = `${id} ${remedy.replaceAll(TIME, '')}`;
    const before = this.#logged.get(key);
    if (before !== undefined && now - before.at < pause) return false;
    if (before === undefined && this.#count(id) >= MAX_LINES_PER_ID) return false;
    this.#logged.set(key, { id, at: now });
    logError(this.#log, error);
    return true;
  }

  /** Call this when the error has ended: the next one is logged at once. */
  reset(): void {
    this.#lastId = undefined;
    this.#logged.clear();
  }

  #count(id: string): number {
    return [...this.#logged.values()].filter((one) => one.id === id).length;
  }
}

/** The device's time, which some remedies show. */
const TIME = /\d{4}-\d\d-\d\dT[\d:.]+Z/g;
