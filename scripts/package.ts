/* Makes the bundle, and of it a Debian package and a tarball with scripts/install for each architecture, in build/.
 *
 *   node dist/scripts/package.js [ARCHITECTURE…]     amd64, arm64, armhf; all of them when none is named
 */

import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundle, TOP } from './bundle.ts';
import { ARCHITECTURES, type Architecture, debianPackage } from './debian.ts';
import { tarball } from './tarball.ts';

const BUILD = join(TOP, 'build');

/** What the files in a package are dated, so that building it again makes the same one. */
function timeOfSources(): number {
  const { SOURCE_DATE_EPOCH: given } = process.env;
  if (given !== undefined && /^\d+$/.test(given)) return Number(given);
  const { stdout } = spawnSync('git', ['log', '-1', '--format=%ct'], { cwd: TOP, encoding: 'utf8' });
  if (/^\d+\n$/.test(stdout ?? '')) return Number(stdout);
  throw new Error('This is no clone that git knows; set SOURCE_DATE_EPOCH to the time of its sources.');
}

async function main(names: readonly string[]): Promise<number> {
  const isKnown = (name: string): name is Architecture => Object.hasOwn(ARCHITECTURES, name);
  const wrong = names.find((name) => !isKnown(name));
  if (wrong !== undefined) {
    console.error(`"${wrong}" is none of ${Object.keys(ARCHITECTURES).join(', ')}.`);
    return 2;
  }
  const all = Object.keys(ARCHITECTURES).filter(isKnown);
  const seconds = timeOfSources();
  const program = join(BUILD, 'bundle');
  mkdirSync(BUILD, { recursive: true });
  await bundle(program);
  for (const architecture of names.length === 0 ? all : names.filter(isKnown)) {
    const { name, contents, files } = debianPackage({ program, architecture, seconds, cache: join(BUILD, 'koffi') });
    writeFileSync(join(BUILD, name), contents);
    const others = tarball({ program, architecture, seconds, cache: join(BUILD, 'koffi') });
    writeFileSync(join(BUILD, others.name), others.contents);
    console.log(`build/${others.name}, ${others.contents.length} bytes`);
    console.log(`build/${name}, ${contents.length} bytes`);
    for (const { path, size } of files) console.log(`${String(size).padStart(10)}  /${path}`);
  }
  return 0;
}

process.exitCode = await main(process.argv.slice(2));
