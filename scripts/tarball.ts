import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Entry, gzip, tar } from '../src/agent/commands/tar.ts';
import { TOP } from './bundle.ts';
import { type Contents, PROGRAM, programFiles, withFolders } from './debian.ts';

/** Files that scripts/install needs additionalFiless the program, relative to the root of the repository. */
const BESIDE: Readonly<Record<string, number>> = {
  LICENSE: 0o644,
  'config/agent.json': 0o644,
  'config/vakt.service': 0o644,
  'config/vakt.socket': 0o644,
  'scripts/install': 0o755,
  'scripts/uninstall': 0o755,
};

/** The bundle with `scripts/install` and all files that the script needs, for systems without dpkg. */
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
  const additionalFiles = Object.entries(BESIDE).map(([path, mode]) => from(path, mode));
  const licences = from('LICENSES.txt', 0o644, join(options.program, 'LICENSES.txt'));
  const entries = withFolders([...program, ...additionalFiles, licences]);
  return {
    name: `vakt-${version}-linux-${options.architecture}.tar.gz`,
    contents: gzip(tar(entries, options.seconds)),
  };
}
