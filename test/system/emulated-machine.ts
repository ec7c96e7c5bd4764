import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { temporaryFolder } from '../harness/folders.ts';
import { makeInitrd } from '../harness/initrd.ts';

const QEMU = '/usr/bin/qemu-system-x86_64';
const BUSYBOX = '/usr/bin/busybox';
/** What the first programs need to see this machine's root. */
const WANTED = ['virtio_pci', '9pnet_virtio', '9p', 'overlay'];
const FOLDERS = ['lower', 'upper', 'new', 'proc', 'sys', 'dev'];
/** All that can be emulated but for page tables of five levels, with which older kernels don't start. */
const PROCESSOR = 'max,la57=off';
/** A busy machine that emulates is slow. */
const SECONDS = 400;

/** @returns what keeps a machine of this kernel, or of the installed one, from being emulated here, or `undefined` */
export function missingForEmulation(kernel: Kernel | undefined = installedKernel()): string | undefined {
  if (process.arch !== 'x64') return `the emulated machine is an x64 one, and this is ${process.arch}`;
  if (process.getuid?.() !== 0) return 'this is not root, whose files the emulated machine shares';
  for (const tool of [QEMU, BUSYBOX, '/usr/bin/cpio', '/usr/bin/xz'])
    if (!existsSync(tool)) return `there is no ${tool}`;
  return kernel === undefined ? 'no Debian kernel is installed (linux-image-amd64)' : undefined;
}

/** A kernel to boot: its image, and the folder of its modules, with modules.dep. */
export interface Kernel {
  readonly image: string;
  readonly modules: string;
}

/** The newest of Debian's kernels that are installed here, whether or not this machine runs by it. */
function installedKernel(): Kernel | undefined {
  const names = existsSync('/boot') ? readdirSync('/boot') : [];
  const newest = names
    .filter((name) => /^vmlinuz-.*-amd64$/.test(name))
    .sort()
    .at(-1);
  if (newest === undefined) return undefined;
  const modules = `/lib/modules/${newest.replace('vmlinuz-', '')}`;
  return existsSync(join(modules, 'modules.dep')) ? { image: `/boot/${newest}`, modules } : undefined;
}

/**
 * Boots a machine of its own kernel, in QEMU, with this machine's files: its root directory is this one's, read-only, with
 * whatever is written kept in memory. So it has an audit of its own, which nobody has ever switched on.
 *
 * Emulated, which is some ten times slower: KVM is missing or half-working wherever tests run in virtual machines. Uses no
 * network and no port.
 *
 * @param script for sh(1), run as the first process's only child; what it writes to its standard output is returned. The
 *   folder `/results` is writable, and has `files` and `programs` in it
 * @param kernelArguments more words for the kernel's command line
 * @param kernel another one than the one that is installed; its modules cannot be loaded later
 * @param seconds how long it may take
 * @throws {Error} with the console's text when the script did not end with status 0
 */
export function runInMachine(options: {
  readonly script: string;
  readonly files?: Readonly<Record<string, string>>;
  /** Paths of programs that are copied to `/results`. */
  readonly programs?: readonly string[];
  readonly kernelArguments?: readonly string[];
  readonly kernel?: Kernel;
  readonly seconds?: number;
}): string {
  const { script, files = {}, programs = [], kernelArguments = [], seconds = SECONDS } = options;
  const { image, modules } = options.kernel ?? installedKernel() ?? fail('no kernel is installed');
  const folder = temporaryFolder();
  const results = join(folder, 'results');
  mkdirSync(results);
  writeFileSync(join(results, 'script'), script);
  for (const [name, contents] of Object.entries(files)) writeFileSync(join(results, name), contents, { mode: 0o755 });
  for (const path of programs) cpSync(path, join(results, basename(path)));
  const initrd = join(folder, 'initrd.cpio');
  makeInitrd(initrd, { busybox: BUSYBOX, modules, wanted: WANTED, folders: FOLDERS, init: initScript });
  const share = (path: string, tag: string, more: string) => [
    '-virtfs',
    `local,path=${path},mount_tag=${tag},security_model=none${more}`,
  ];
  const { stdout, status, error } = spawnSync(
    QEMU,
    [
      ...['-accel', 'tcg', '-smp', '2', '-cpu', PROCESSOR, '-m', '1024', '-nographic', '-no-reboot', '-nic', 'none'],
      ...['-kernel', image, '-initrd', initrd],
      ...['-append', ['console=ttyS0 quiet panic=-1', ...kernelArguments].join(' ')],
      ...share('/', 'root', ',readonly=on,multidevs=remap'),
      ...share(results, 'results', ''),
    ],
    { encoding: 'utf8', timeout: seconds * 1_000, killSignal: 'SIGKILL', maxBuffer: 16 * 1024 * 1024, input: '' },
  );
  const read = (name: string) => (existsSync(join(results, name)) ? readFileSync(join(results, name), 'utf8') : '');
  if (read('status').trim() !== '0') {
    const end = error?.message ?? `QEMU ended with ${status}`;
    throw new Error(
      `the script's status is "${read('status').trim()}", ${end}:\n${stdout}\n${read('stdout')}\n${read('stderr')}`,
    );
  }
  return read('stdout');
}

const initScript = (modules: readonly string[]) => `#!/bin/busybox sh
b=/bin/busybox
for m in ${modules.join(' ')}; do $b insmod /modules/$m || $b echo "no $m"; done
$b mount -t tmpfs -o size=512m tmpfs /upper
$b mkdir /upper/files /upper/work
$b mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=262144,cache=loose root /lower
$b mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work overlay /new
$b mkdir -p /new/results
for each in proc sys dev; do $b mkdir -p /new/$each; done
$b mount -t proc proc /new/proc
$b mount -t sysfs sysfs /new/sys
$b mount -t devtmpfs dev /new/dev
$b mkdir -p /new/dev/shm
$b mount -t tmpfs tmpfs /new/dev/shm
$b mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 results /new/results
$b ip link set lo up 2>/dev/null
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
$b chroot /new /bin/sh -c 'sh /results/script >/results/stdout 2>/results/stderr; echo $? >/results/status'
$b sync
$b poweroff -f
`;

function fail(reason: string): never {
  throw new Error(reason);
}
