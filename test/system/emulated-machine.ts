import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { temporaryFolder } from '../harness/folders.ts';
import { makeInitrd } from '../harness/initrd.ts';

const QEMU = '/usr/bin/qemu-system-x86_64';
const BUSYBOX = '/usr/bin/busybox';
/** Kernel modules that the first programs need to mount this machine's root. */
const WANTED = ['virtio_pci', '9pnet_virtio', '9p', 'overlay'];
const FOLDERS = ['lower', 'upper', 'new', 'proc', 'sys', 'dev'];
/** All emulated features except five-level page tables, with which older kernels do not boot. */
const PROCESSOR = 'max,la57=off';
/** Emulation is slow on a loaded machine. */
const SECONDS = 400;

/** Returns why a machine with this kernel, or the installed one, cannot be emulated here; `undefined` if it can. */
export function missingForEmulation(kernel: Kernel | undefined = installedKernel()): string | undefined {
  if (process.arch !== 'x64') return `the emulated machine is an x64 one, and this is ${process.arch}`;
  if (process.getuid?.() !== 0) return 'this is not root, whose files the emulated machine shares';
  for (const tool of [QEMU, BUSYBOX, '/usr/bin/cpio', '/usr/bin/xz'])
    if (!existsSync(tool)) return `there is no ${tool}`;
  return kernel === undefined ? 'no Debian kernel is installed (linux-image-amd64)' : undefined;
}

/** A kernel to boot: its image and the folder of its modules, with modules.dep. */
export interface Kernel {
  readonly image: string;
  readonly modules: string;
}

/** The newest Debian kernel that is installed here; this machine may run another one. */
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
 * Boots a kernel in QEMU. Its root directory is that of this machine, read-only; writes are kept in memory. It has its own kernel
 * audit, which has never been enabled.
 *
 * It is emulated without KVM, about ten times slower: KVM is often missing or unreliable in the virtual machines that run tests.
 * Uses no network and no port.
 *
 * @param script for sh(1), run as the only child of the init process. The folder `/results` is writable, and contains `files` and
 *   `programs`
 * @param kernelArguments additional words of the kernel command line
 * @param kernel default: the installed kernel. Modules of another kernel cannot be loaded later
 * @param seconds time limit
 * @returns the script's standard output
 * @throws {Error} with the console's output if the script does not exit with status 0
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
