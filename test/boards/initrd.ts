import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';

/** What the kernel needs to find its root, as far as it is not built in; `crc32c_generic` is asked for by ext4 at run time. */
const MODULES = ['virtio_pci', 'virtio_mmio', 'virtio_blk', 'crc32c_generic', 'ext4'];
const PATIENCE_TENTHS = 600;

/**
 * Makes an initial file system that loads the modules for a virtio disk with ext4, mounts /dev/vda and starts its init.
 * Debian's own would take minutes to build by an emulated processor, and some seconds more of each boot.
 *
 * @param tree the system that it is for, with one kernel and busybox-static
 * @param file where to write it
 */
export function makeInitrd(tree: string, file: string): void {
  const [version = ''] = readdirSync(join(tree, 'lib/modules'));
  const modules = withDependencies(join(tree, 'lib/modules', version));
  const folder = `${file}.tree`;
  try {
    for (const name of ['bin', 'modules', 'root', 'proc', 'sys', 'dev']) {
      mkdirSync(join(folder, name), { recursive: true });
    }
    cpSync(join(tree, 'usr/bin/busybox'), join(folder, 'bin/busybox'));
    for (const path of modules) {
      writeFileSync(join(folder, 'modules', moduleName(path)), decompressed(join(tree, 'lib/modules', version, path)));
    }
    writeFileSync(join(folder, 'init'), initScript(modules.map(moduleName)));
    chmodSync(join(folder, 'init'), 0o755);
    const names = execFileSync('find', ['.', '-print0'], { cwd: folder });
    const cpio = ['--null', '--create', '--format=newc', '--quiet'];
    writeFileSync(file, execFileSync('cpio', cpio, { cwd: folder, input: names, maxBuffer: 64 * 1024 * 1024 }));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** `kernel/fs/ext4/ext4.ko.xz` → `ext4`: files have `-` where the names have `_`. */
const moduleName = (path: string): string =>
  basename(path)
    .replace(/\.ko(?:\.\w+)?$/, '')
    .replaceAll('-', '_');

/**
 * The files of the modules with those that they need, in an order in which they can be loaded. What is built into the kernel
 * is left out.
 *
 * @throws Error if the kernel has no such module
 */
function withDependencies(folder: string): string[] {
  const lines = readFileSync(join(folder, 'modules.dep'), 'utf8').split('\n');
  const needs = new Map(
    lines.map((line) => {
      const [path = '', ...needed] = line.split(/:? +|:$/).filter((word) => word !== '');
      return [path, needed];
    }),
  );
  const files = new Map([...needs.keys()].map((path) => [moduleName(path), path]));
  const builtIn = new Set(readFileSync(join(folder, 'modules.builtin'), 'utf8').split('\n').map(moduleName));
  const paths = MODULES.filter((name) => !builtIn.has(name)).flatMap((name) => {
    const path = files.get(name);
    if (path !== undefined) return [...(needs.get(path) ?? []).toReversed(), path];
    if (name === 'crc32c_generic') return []; // gone from kernels in which ext4 calls the library
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
  return tool === undefined
    ? readFileSync(file)
    : execFileSync(tool.name, ['-dc', file], { maxBuffer: 64 * 1024 * 1024 });
}

const initScript = (modules: readonly string[]) => `#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs dev /dev
for m in ${modules.join(' ')}; do $b insmod /modules/$m || $b echo "no $m"; done
i=0
while [ ! -b /dev/vda ] && [ $i -lt ${PATIENCE_TENTHS} ]; do $b sleep 0.1; i=$((i+1)); done
$b mount -t ext4 /dev/vda /root || $b poweroff -f
for each in proc sys dev; do $b mount --move /$each /root/$each; done
exec $b switch_root /root /sbin/init
`;
