import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { TOP } from './set-up.mjs';

const BUNDLE = 'build/bundle';

/**
 * The environment for tests of the program that is shipped: VAKT_PROGRAM names it. Makes the bundle, unless the caller has
 * named a program, and the code cache that an installation makes. Root can make none in a folder that others cannot read:
 * then agents start more slowly. Call `setUp` first.
 */
export async function withShippedProgram() {
  const main = join(TOP, BUNDLE, 'main.js');
  if (process.env.VAKT_PROGRAM !== undefined) return process.env;
  const { bundle } = await import('../dist/scripts/bundle.js');
  await bundle(BUNDLE);
  const { nodeFlagsOf } = await import('../dist/test/node-flags.js');
  const make = [...nodeFlagsOf(main), main, 'make-code-cache'];
  const { status } = spawnSync(process.execPath, make, { stdio: ['ignore', 'ignore', 'inherit'] });
  if (status !== 0) console.error('Agents are tested without a code cache.');
  return { ...process.env, VAKT_PROGRAM: main };
}
