import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';

export interface Initrd {
  /** A static busybox, for the processor that boots it. */
  readonly busybox: string;
  /** The folder of the kernel's modules, with modules.dep and modules.builtin. */
  readonly modules: string;
  /** Names of the modules that must be loaded, or built in. Those with `?` may be missing. */
  readonly wanted: readonly string[];
  /** Folders that the script needs, to mount something there. */
  readonly folders: readonly string[];
  /** @returns the script that the kernel starts. Files of the modules, to be loaded in this order, are in `/modules` */
  readonly init: (modules: readonly string[]) => string;
}

const MAX_BYTES = 64 * 1024 * 1024;

/**
 * Creates an initial file system of busybox and some modules, in a tenth of a second. Debian's own would take minutes
 * to build on an emulated CPU, and make each boot a few seconds longer.
 *
 * @param file where to write it
 * @throws Error if the kernel has no such module
 */
export function makeInitrd(file: string, { busybox, modules, wanted, folders, init }: Initrd): void {
  const tree = `${file}.tree`;
  try {
    for (const name of ['bin', 'modules', ...folders]) mkdirSync(join(tree, name), { recursive: true });
    cpSync(busybox, join(tree, 'bin/busybox'));
    const paths = withDependencies(modules, wanted);
    for (const path of paths) writeFileSync(join(tree, 'modules', moduleName(path)), decompressed(join(modules, path)));
    writeFileSync(join(tree, 'init'), init(paths.map(moduleName)));
    chmodSync(join(tree, 'init'), 0o755);
    const names = execFileSync('find', ['.', '-print0'], { cwd: tree });
    const cpio = ['--null', '--create', '--format=newc', '--quiet'];
    writeFileSync(file, execFileSync('cpio', cpio, { cwd: tree, input: names, maxBuffer: MAX_BYTES }));
  } finally {
    rmSync(tree, { recursive: true, force: true });
  }
}

/** `kernel/fs/ext4/ext4.ko.xz` → `ext4`: files have `-` where the names have `_`. */
const moduleName = (path: string): string =>
  basename(path)
    .replace(/\.ko(?:\.\w+)?$/, '')
    .replaceAll('-', '_');

/**
 * The files of the modules and of their dependencies, in an order in which they can be loaded. Modules that are built
 * into the kernel are omitted.
 */
function withDependencies(folder: string, wanted: readonly string[]): string[] {
  const lines = readFileSync(join(folder, 'modules.dep'), 'utf8').split('\n');
  const needs = new Map(
    lines.map((line) => {
      // `PATH: DEPENDENCY…`, each of which may need the ones after it: modules.dep(5)
      const [path = '', ...needed] = line.split(/:? +|:$/).filter((word) => word !== '');
      return [path, needed];
    }),
  );
  const files = new Map([...needs.keys()].map((path) => [moduleName(path), path]));
  const builtIn = new Set(readFileSync(join(folder, 'modules.builtin'), 'utf8').split('\n').map(moduleName));
  const paths = wanted.flatMap((each) => {
    const name = each.replace(/\?$/, '');
    const path = files.get(name);
    if (path !== undefined) return [...(needs.get(path) ?? []).toReversed(), path];
    if (builtIn.has(name) || name !== each) return [];
    throw new Error(`the kernel has no module ${name}`);
  });
  return [...new Set(paths)];
}

function decompressed(file: string): Buffer {
  const [tool] = [
    { ending: '.xz', name: 'xz' },
    { ending: '.zst', name: 'zstd' },
    { ending: '.gz', name: 'gzip' },
  ].filter(({ ending }) => file.endsWith(ending));
  return tool === undefined ? readFileSync(file) : execFileSync(tool.name, ['-dc', file], { maxBuffer: MAX_BYTES });
}
