import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Entry, gzip, tar } from './archives.ts';
import { TOP } from './bundle.ts';
import { type Contents, PROGRAM, programFiles, withFolders } from './debian.ts';

/** What scripts/install needs beside the program, by its path from the clone's top. */
const BESIDE: Readonly<Record<string, number>> = {
  LICENSE: 0o644,
  'config/agent.json': 0o644,
  'config/vakt.service': 0o644,
  'config/vakt.socket': 0o644,
  'scripts/install': 0o755,
  'scripts/uninstall': 0o755,
};

/** The bundle with its scripts, for systems without Debian's packages: unpacked, `scripts/install` finds all it needs. */
export function tarball(options: Contents): { readonly name: string; readonly contents: Buffer } {
  const { version } = JSON.parse(readFileSync(join(TOP, 'package.json'), 'utf8')) as { version: string };
  const folder = `vakt-${version}`;
  const program = programFiles(options).flatMap((entry): Entry[] => {
    const [, path] = entry.path.split(`${PROGRAM}/`);
    return path === undefined ? [] : [{ ...entry, path: `${folder}/${path}` }];
  });
  const from = (path: string, mode: number, file = join(TOP, path)): Entry => ({
    kind: 'file',
    path: `${folder}/${path}`,
    mode,
    contents: readFileSync(file),
  });
  const beside = Object.entries(BESIDE).map(([path, mode]) => from(path, mode));
  const licences = from('LICENSES.txt', 0o644, join(options.program, 'LICENSES.txt'));
  const entries = withFolders([...program, ...beside, licences], {});
  return {
    name: `vakt-${version}-linux-${options.architecture}.tar.gz`,
    contents: gzip(tar(entries, options.seconds)),
  };
}
