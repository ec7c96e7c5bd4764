import type { Context } from 'mocha';

/** Skips the running test, and prints why: a skip without a reason would go unnoticed. */
export function skip(test: Context, reason: string): never {
  process.stdout.write(`      skipped: ${reason}\n`);
  return test.skip();
}

/**
 * Skips the tests of a machine that can't run them, and says why. With VAKT_REQUIRE_ALL=1, as in CI, they fail instead.
 *
 * @param missing what isn't there, or `undefined` when all is
 */
export function require(context: Context, missing: string | undefined): void {
  if (missing === undefined) return;
  if (process.env.VAKT_REQUIRE_ALL === '1') throw new Error(`VAKT_REQUIRE_ALL is set, but ${missing}`);
  skip(context, missing);
}
