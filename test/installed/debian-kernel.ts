import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Kernel } from '../system/emulated-machine.ts';

/**
 * Returns Debian's kernel of a suite. If the folder does not contain it, apt downloads it from Debian's mirror and it is unpacked
 * there, without installing it: 300 MB, half a minute.
 *
 * @param suite such as `bookworm`; this machine's debian-archive-keyring must contain its key
 * @throws Error with the output of apt-get if the mirror has no such suite
 */
export function debianKernel(suite: string, folder: string): Kernel {
  const tree = join(folder, suite);
  if (!existsSync(tree)) fetchKernel(suite, tree);
  const [image = ''] = readdirSync(join(tree, 'boot')).filter((name) => name.startsWith('vmlinuz-'));
  return { image: join(tree, 'boot', image), modules: join(tree, 'lib/modules', image.replace('vmlinuz-', '')) };
}

function fetchKernel(suite: string, tree: string): void {
  const temporaryTree = `${tree}.new`;
  rmSync(temporaryTree, { recursive: true, force: true });
  const apt = join(temporaryTree, 'apt');
  for (const path of ['lists/partial', 'cache/archives/partial']) mkdirSync(join(apt, path), { recursive: true });
  writeFileSync(join(apt, 'sources.list'), `deb http://deb.debian.org/debian ${suite} main\n`);
  writeFileSync(join(apt, 'status'), ''); // otherwise apt would return the installed kernel
  // Isolated from this machine's apt, which is neither used nor changed.
  const options = [
    `Dir::Etc::SourceList=${join(apt, 'sources.list')}`,
    'Dir::Etc::SourceParts=-',
    `Dir::State::Lists=${join(apt, 'lists')}`,
    `Dir::State::Status=${join(apt, 'status')}`,
    `Dir::Cache=${join(apt, 'cache')}`,
    'APT::Architecture=amd64',
    'APT::Architectures=amd64',
  ].flatMap((option) => ['-o', option]);
  const run = (program: string, ...args: string[]) =>
    execFileSync(program, args, { encoding: 'utf8', cwd: apt, stdio: ['ignore', 'pipe', 'inherit'] });
  run('apt-get', ...options, '--quiet=2', 'update');
  const depends = run('apt-cache', ...options, 'depends', 'linux-image-amd64');
  const [, name] = /Depends: (linux-image-\d\S*)/.exec(depends) ?? [];
  if (name === undefined) throw new Error(`linux-image-amd64 of ${suite} depends on no kernel:\n${depends}`);
  run('apt-get', ...options, '--quiet=2', 'download', name);
  const [archive = ''] = readdirSync(apt).filter((file) => file.endsWith('.deb'));
  run('dpkg-deb', '--extract', join(apt, archive), temporaryTree);
  rmSync(apt, { recursive: true });
  const [version = ''] = readdirSync(join(temporaryTree, 'lib/modules'));
  execFileSync('depmod', ['--basedir', temporaryTree, version]);
  renameSync(temporaryTree, tree);
}
