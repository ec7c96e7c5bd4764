import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { TOP } from './set-up.mjs';

const BUNDLE = 'build/bundle';

/** What the bundle is made of, apart from installed packages. */
const PARTS = ['dist/src', 'dist/scripts', 'config', 'docs', 'README.md', 'TROUBLESHOOTING.md', 'package.json'];

/** Whether no part has changed since the bundle was made. */
function isCurrent(main) {
  if (!existsSync(main)) return false;
  const made = statSync(main).mtimeMs;
  const filesOf = (part) =>
    statSync(part).isDirectory()
      ? readdirSync(part, { recursive: true, encoding: 'utf8' }).map((file) => join(part, file))
      : [part];
  return PARTS.flatMap(filesOf).every((file) => statSync(file).mtimeMs < made);
}

/**
 * The environment for tests of the program that is shipped: VAKT_PROGRAM names it. Unless the caller has named a program,
 * makes the bundle if it is missing or out of date, and the code cache that an installation makes. Root can make none in a
 * folder that others cannot read: then agents start more slowly. Call `setUp` first.
 */
export async function withShippedProgram() {
  const main = join(TOP, BUNDLE, 'main.js');
  if (process.env.VAKT_PROGRAM !== undefined) return process.env;
  if (isCurrent(main)) return { ...process.env, VAKT_PROGRAM: main };
  const { bundle } = await import('../dist/scripts/bundle.js');
  await bundle(BUNDLE);
  const { nodeFlagsOf } = await import('../dist/test/node-flags.js');
  const make = [...nodeFlagsOf(main), main, 'make-code-cache'];
  const { status } = spawnSync(process.execPath, make, { stdio: ['ignore', 'ignore', 'inherit'] });
  if (status !== 0) console.error('Agents are tested without a code cache.');
  return { ...process.env, VAKT_PROGRAM: main };
}
