import assert from 'node:assert/strict';
import { systemClock } from '../../src/core/base/clock.ts';
import { type Duration, milliseconds, minutes } from '../../src/core/base/duration.ts';

/** How often a condition is looked at, and after which time its wait has failed. */
interface Pace {
  readonly limit?: Duration;
  readonly every?: Duration;
}

/**
 * Resolves once a condition holds. Instead of a fixed sleep, which is too long on a fast machine and too short on a busy one.
 *
 * @param what is waited for, for the error message; a function can say what there is instead
 * @throws AssertionError with `what`, when the condition does not hold within the limit, a minute if none is given
 */
export async function until(
  what: string | (() => string),
  condition: () => boolean | Promise<boolean>,
  { limit = minutes(1), every = milliseconds(20) }: Pace = {},
): Promise<void> {
  const deadline = systemClock.monotonic() + limit;
  while (!(await condition())) {
    if (systemClock.monotonic() > deadline) {
      assert.fail(`waited ${limit / 1_000} s in vain for ${typeof what === 'string' ? what : what()}`);
    }
    await systemClock.sleep(every);
  }
}
