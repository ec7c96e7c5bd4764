import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { lockClone, TOP } from './set-up.mjs';

/** Has a folder for each content: agents of another run may be running from an older one. */
const BUNDLES = 'build/shipped';
/** A bundle that no run has asked for in this time, in milliseconds, is removed. */
const KEPT = 24 * 60 * 60 * 1_000;

/** What the bundle is made of. */
const PARTS = [
  ...['dist/src', 'dist/scripts', 'config', 'docs', 'README.md', 'TROUBLESHOOTING.md', 'package.json'],
  'package-lock.json',
];

function digestOfParts() {
  const digest = createHash('sha256').update(process.version);
  const filesOf = (part) =>
    statSync(part).isDirectory()
      ? readdirSync(part, { recursive: true, encoding: 'utf8' }).map((file) => join(part, file))
      : [part];
  const files = PARTS.flatMap(filesOf).filter((file) => !file.endsWith('.map') && statSync(file).isFile());
  for (const file of files.sort()) digest.update(`${file}\0`).update(readFileSync(file));
  return digest.digest('hex').slice(0, 16);
}

/**
 * The environment for tests of the program that is shipped: VAKT_PROGRAM names it. Unless the caller has named a program,
 * makes the bundle if there is none of these sources, and the code cache that an installation makes. Root can make none in a
 * folder that others cannot read: then agents start more slowly. Call `setUp` first.
 */
export async function withShippedProgram() {
  if (process.env.VAKT_PROGRAM !== undefined) return process.env;
  const release = await lockClone();
  const folder = join(BUNDLES, digestOfParts());
  const main = join(TOP, folder, 'main.js');
  if (existsSync(main)) utimesSync(folder, new Date(), new Date());
  else await make(folder, main);
  for (const each of readdirSync(BUNDLES).map((name) => join(BUNDLES, name))) {
    if (statSync(each).mtimeMs < Date.now() - KEPT) rmSync(each, { recursive: true });
  }
  release();
  return { ...process.env, VAKT_PROGRAM: main };
}

async function make(folder, main) {
  const { bundle } = await import('../dist/scripts/bundle.js');
  const unfinished = `${folder}.new`;
  await bundle(unfinished);
  renameSync(unfinished, folder);
  const { nodeFlagsOf } = await import('../dist/test/node-flags.js');
  const makeCache = [...nodeFlagsOf(main), main, 'make-code-cache'];
  const { status } = spawnSync(process.execPath, makeCache, { stdio: ['ignore', 'ignore', 'inherit'] });
  if (status !== 0) console.error('Agents are tested without a code cache.');
}
