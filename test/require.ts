import type { Context } from 'mocha';

/** Skips the running test, and prints why: a skip without its reason is a hole that nobody sees. */
export function skip(test: Context, reason: string): never {
  process.stdout.write(`      skipped: ${reason}\n`);
  return test.skip();
}
