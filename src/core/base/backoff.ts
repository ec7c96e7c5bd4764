import { type Duration, milliseconds } from './duration.ts';

export interface Backoff {
  /** Call this after each failure. @returns how long to wait before the next attempt */
  next(): Duration;
  /** Call this after a success: the next delay is short again. */
  reset(): void;
}

/**
 * Full jitter: each delay is drawn uniformly from `atLeast` to a bound that doubles from `first` up to `max`. It
 * spreads the reconnects of a fleet that lost its hub at the same instant better than a fixed or slightly varied delay
 * does. Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
 *
 * @param random gives numbers from 0 (included) to 1 (excluded)
 */
export function fullJitter(
  { first, max, atLeast = milliseconds(0) }: { first: Duration; max: Duration; atLeast?: Duration },
  random: () => number = Math.random,
): Backoff {
  let bound: number = first;
  return {
    next() {
      const wait = atLeast + random() * Math.max(0, bound - atLeast);
      bound = Math.min(bound * 2, max);
      return milliseconds(Math.round(wait));
    },
    reset() {
      bound = first;
    },
  };
}

/** A message that is sent sooner would contain almost no data. */
const MIN_PART = 0.25;

/**
 * The fraction of its usual length that the first period after a start or an outage has: random, from 0.25 (included)
 * to 1 (excluded). Devices that start together after a power cut, or reconnect together after an outage of their hub,
 * would otherwise send and report at the same time in every period.
 *
 * @param random gives numbers from 0 (included) to 1 (excluded)
 */
export function randomPart(random: () => number = Math.random): number {
  return MIN_PART + random() * (1 - MIN_PART);
}
