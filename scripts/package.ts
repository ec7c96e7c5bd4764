/* Builds the bundle, and from it a Debian package and a tarball with scripts/install for each architecture, in build/.
 *
 *   node dist/scripts/package.js [--with-node] [ARCHITECTURE…]     amd64, arm64, armhf; all when none is named
 *
 * --with-node also builds vakt-with-node, the Debian package that contains Node, for amd64 and arm64. It needs xz, and
 * fetches 50 MB per architecture.
 */

import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundle, TOP } from './bundle.ts';
import { ARCHITECTURES, type Architecture, type Contents, debianPackage } from './debian.ts';
import { shippedNode } from './shipped-node.ts';
import { tarball } from './tarball.ts';

const BUILD = join(TOP, 'build');

/** Modification time of the files in a package, from the sources, so that builds are reproducible. */
function timeOfSources(): number {
  const { SOURCE_DATE_EPOCH: given } = process.env;
  if (given !== undefined && /^\d+$/.test(given)) return Number(given);
  const { stdout } = spawnSync('git', ['log', '-1', '--format=%ct'], { cwd: TOP, encoding: 'utf8' });
  if (/^\d+\n$/.test(stdout ?? '')) return Number(stdout);
  throw new Error('Not a git repository: set SOURCE_DATE_EPOCH to the time of the sources, in Unix seconds.');
}

const WITH_NODE = '--with-node';

async function main(args: readonly string[]): Promise<number> {
  const isKnown = (name: string): name is Architecture => Object.hasOwn(ARCHITECTURES, name);
  const names = args.filter((arg) => arg !== WITH_NODE);
  const wrong = names.find((name) => !isKnown(name));
  if (wrong !== undefined) {
    console.error(`There is no architecture "${wrong}"; use ${Object.keys(ARCHITECTURES).join(', ')}.`);
    return 2;
  }
  const all = Object.keys(ARCHITECTURES).filter(isKnown);
  const seconds = timeOfSources();
  const program = join(BUILD, 'bundle');
  mkdirSync(BUILD, { recursive: true });
  const packages = await bundle(program);
  const cache = join(BUILD, 'koffi');
  for (const architecture of names.length === 0 ? all : names.filter(isKnown)) {
    const contents = { program, packages, architecture, seconds, cache };
    write(tarball(contents));
    writeDebian(contents);
    const node = args.includes(WITH_NODE) ? shippedNode(architecture, join(BUILD, 'node')) : undefined;
    if (node !== undefined) writeDebian({ ...contents, node });
    else if (args.includes(WITH_NODE)) console.log(`vakt-with-node: there is no maintained Node for ${architecture}`);
  }
  return 0;
}

function write({ name, contents }: { readonly name: string; readonly contents: Buffer }): void {
  writeFileSync(join(BUILD, name), contents);
  console.log(`build/${name}, ${contents.length} bytes`);
}

function writeDebian(contents: Contents): void {
  const made = debianPackage(contents);
  write(made);
  for (const { path, size } of made.files) console.log(`${String(size).padStart(10)}  /${path}`);
}

process.exitCode = await main(process.argv.slice(2));
