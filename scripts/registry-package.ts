import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { TOP } from './bundle.ts';

/**
 * Fetches an npm package by npm, without running its scripts, and returns its files by path.
 *
 * @param integrity the only archive that is accepted, in the form of the lockfile: `sha512-BASE64`
 * @param cache a folder that keeps the archive for later calls
 * @throws {Error} when npm can't fetch it, or the archive has another hash
 */
export function registryPackage(wanted: {
  readonly name: string;
  readonly version: string;
  readonly integrity: string;
  readonly cache: string;
}): Map<string, Uint8Array> {
  return unpack(gunzipSync(fetched(wanted)));
}

function fetched({ name, version, integrity, cache }: Parameters<typeof registryPackage>[0]): Buffer {
  const path = join(cache, `${name.replace('@', '').replace('/', '-')}-${version}.tgz`);
  if (!existsSync(path)) {
    mkdirSync(cache, { recursive: true });
    const args = ['pack', '--silent', '--ignore-scripts', `--pack-destination=${cache}`, `${name}@${version}`];
    const { status, stderr } = spawnSync('npm', args, { cwd: TOP, encoding: 'utf8' });
    if (status !== 0) throw new Error(`npm could not fetch ${name}: ${stderr}`);
  }
  const contents = readFileSync(path);
  const digest = `sha512-${createHash('sha512').update(contents).digest('base64')}`;
  if (digest !== integrity) throw new Error(`${path} is not the pinned archive; delete it and try again`);
  return contents;
}

const BLOCK = 512;

/** The files of a tar archive, as npm writes them. Files with names of more than 100 characters are left out. */
function unpack(archive: Buffer): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  for (let at = 0; at + BLOCK <= archive.length && archive[at] !== 0; ) {
    const text = (from: number, size: number) =>
      archive.toString('latin1', at + from, at + from + size).split('\0')[0] ?? '';
    const length = Number.parseInt(text(124, 12), 8);
    if (text(345, 155) === '') files.set(text(0, 100), archive.subarray(at + BLOCK, at + BLOCK + length));
    at += BLOCK + Math.ceil(length / BLOCK) * BLOCK;
  }
  return files;
}
