import type { Context } from 'mocha';

let lastReason: string | undefined;

/** Skips the running test, and prints why: a skip without a reason would go unnoticed. */
export function skip(test: Context, reason: string): never {
  process.stdout.write(`      skipped: ${reason}\n`);
  lastReason = reason;
  return test.skip();
}

/** Returns the reason of the last skip, once. */
export function takeReason(): string | undefined {
  const reason = lastReason;
  lastReason = undefined;
  return reason;
}

/**
 * Skips tests that this machine can't run, and prints the reason. With VAKT_REQUIRE_ALL=1, as in CI, they fail instead.
 *
 * @param missing the missing requirement, or `undefined` if everything is available
 */
export function require(context: Context, missing: string | undefined): void {
  if (missing === undefined) return;
  if (process.env.VAKT_REQUIRE_ALL === '1') throw new Error(`VAKT_REQUIRE_ALL is set, but ${missing}`);
  skip(context, missing);
}
