import { join } from 'node:path';
import { mustRun, TOP } from './set-up.mjs';

const BUNDLE = 'build/bundle';

/**
 * The environment for tests of the program that is shipped: VAKT_PROGRAM names it. Makes the bundle, with the code cache that
 * an installation makes, unless the caller has named a program. Call `setUp` first.
 */
export async function withShippedProgram() {
  const main = join(TOP, BUNDLE, 'main.js');
  if (process.env.VAKT_PROGRAM !== undefined) return process.env;
  const { bundle } = await import('../dist/scripts/bundle.js');
  await bundle(BUNDLE);
  const { nodeFlagsOf } = await import('../dist/test/node-flags.js');
  mustRun(process.execPath, [...nodeFlagsOf(main), main, 'make-code-cache']);
  return { ...process.env, VAKT_PROGRAM: main };
}
