import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { TOP } from './bundle.ts';

/** What of koffi is loaded; the rest is its own documentation and sources. */
export const KOFFI = ['package.json', 'LICENSE.txt', 'index.cjs', 'src/koffi/index.cjs', 'src/koffi/src/static.cjs'];

/**
 * koffi for one architecture, as it lies in node_modules. npm installs the binary of this machine alone; others are
 * fetched by npm, held against the lockfile's hash, and kept in `cache`.
 *
 * @param node Node's name of the architecture
 * @param abi koffi's own, with the C library
 */
export function nativeParts({
  node,
  abi,
  cache,
}: {
  node: string;
  abi: string;
  cache: string;
}): Map<string, Uint8Array> {
  const parts = new Map<string, Uint8Array>();
  for (const path of KOFFI) parts.set(`koffi/${path}`, readFileSync(join(TOP, 'node_modules/koffi', path)));
  const name = `@koromix/koffi-linux-${node}`;
  const files = unpack(gunzipSync(fetched(name, cache)));
  for (const path of ['package.json', 'index.js', `${abi}/koffi.node`]) {
    const contents = files.get(`package/${path}`);
    if (contents === undefined) throw new Error(`${name} has no ${path}`);
    parts.set(`${name}/${path}`, contents);
  }
  return parts;
}

/** A package as the registry has it, and as the lockfile wants it. */
function fetched(name: string, cache: string): Buffer {
  const lock = JSON.parse(readFileSync(join(TOP, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { version: string; integrity: string } | undefined>;
  };
  const wanted = lock.packages[`node_modules/${name}`];
  if (wanted === undefined) throw new Error(`the lockfile has no ${name}`);
  const path = join(cache, `${name.replace('@', '').replace('/', '-')}-${wanted.version}.tgz`);
  if (!existsSync(path)) {
    mkdirSync(cache, { recursive: true });
    const args = ['pack', '--silent', '--ignore-scripts', `--pack-destination=${cache}`, `${name}@${wanted.version}`];
    const { status, stderr } = spawnSync('npm', args, { cwd: TOP, encoding: 'utf8' });
    if (status !== 0) throw new Error(`npm could not fetch ${name}: ${stderr}`);
  }
  const contents = readFileSync(path);
  const digest = `sha512-${createHash('sha512').update(contents).digest('base64')}`;
  if (digest !== wanted.integrity) throw new Error(`${path} is not what the lockfile names; delete it and try again`);
  return contents;
}

const BLOCK = 512;

/** The files of a tar archive, as npm writes them: short names, nothing but files. */
function unpack(archive: Buffer): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  for (let at = 0; at + BLOCK <= archive.length && archive[at] !== 0; ) {
    const text = (from: number, size: number) =>
      archive.toString('latin1', at + from, at + from + size).split('\0')[0] ?? '';
    const length = Number.parseInt(text(124, 12), 8);
    files.set(text(0, 100), archive.subarray(at + BLOCK, at + BLOCK + length));
    at += BLOCK + Math.ceil(length / BLOCK) * BLOCK;
  }
  return files;
}
