import assert from 'node:assert/strict';
import { systemClock } from '../../src/core/base/clock.ts';
import { type Duration, milliseconds, minutes } from '../../src/core/base/duration.ts';

/** How often a condition is checked, and the time limit for the wait. */
interface Pace {
  readonly limit?: Duration;
  readonly every?: Duration;
}

/**
 * Resolves once a condition holds. Replaces a fixed sleep, which is too long on a fast machine and too short on a
 * loaded one.
 *
 * @param what names the condition in the error message; a function can add the actual state
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
