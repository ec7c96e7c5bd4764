import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import type { Architecture } from './architectures.ts';
import { makeDiskInitrd } from './initrd.ts';
import { registerInterpreter } from './interpreter.ts';

/** The board's system: Debian with its own kernel and Node. */
export interface Image {
  readonly kernel: string;
  readonly initrd: string;
  /** ext4, raw and without partitions. */
  readonly disk: string;
  /** Path of the ssh key of the board's root. */
  readonly key: string;
}

/** The board's name for this machine's loopback interface. */
export const HUB_NAME = 'emulator.azure-devices.net';
/** The address of this machine's loopback interface in QEMU's network. */
export const HOST_ADDRESS = '10.0.2.2';

const SUITE = 'trixie';
/** Main archive only: the indexes of updates are not needed, and change every day. */
const MIRROR = 'http://deb.debian.org/debian';
const PACKAGES = [
  'systemd',
  'systemd-sysv',
  'udev',
  'dbus',
  'nodejs',
  'auditd',
  'openssh-server',
  'nftables',
  'iproute2',
  'busybox-static',
];
const DISK_BYTES = 2 * 1024 ** 3;

const FILES: Readonly<Record<string, string>> = {
  'etc/hostname': 'board\n',
  'etc/hosts': `127.0.0.1 localhost board\n::1 localhost board\n${HOST_ADDRESS} ${HUB_NAME}\n`,
  // Empty, since "uninitialized" would make systemd enable services by their presets.
  'etc/machine-id': '',
  'etc/systemd/network/80-board.network': '[Match]\nName=e*\n\n[Network]\nDHCP=yes\n',
  // A test uses wrong passwords, after which sshd must not block this machine.
  'etc/ssh/sshd_config.d/board.conf': 'PerSourcePenalties no\nMaxStartups 100\nUseDNS no\n',
};

/** Services that are not started at boot: a test starts auditd. */
const NOT_STARTED = ['auditd', 'audit-rules'];
const MASKED = [
  'apt-daily.timer',
  'apt-daily-upgrade.timer',
  'dpkg-db-backup.timer',
  'fstrim.timer',
  'e2scrub_all.timer',
];

/**
 * Creates an image, unless the folder contains one of the same definition. This takes minutes and needs Debian's mirror.
 *
 * @param folder contains a folder for each image; images of the same architecture with another definition are removed
 * @param print called with a line about the progress
 */
export function makeImage(architecture: Architecture, folder: string, print: (line: string) => void): Image {
  const { name } = architecture;
  const definition = createHash('sha256');
  definition.update(JSON.stringify([architecture, SUITE, PACKAGES, DISK_BYTES, FILES, NOT_STARTED, MASKED]));
  const imageFolder = join(folder, `${name}-${definition.digest('hex').slice(0, 12)}`);
  const image = {
    kernel: join(imageFolder, 'kernel'),
    initrd: join(imageFolder, 'initrd'),
    disk: join(imageFolder, 'disk'),
    key: join(imageFolder, 'key'),
  };
  if (existsSync(imageFolder)) return image;
  mkdirSync(folder, { recursive: true });
  for (const other of readdirSync(folder).filter((entry) => entry.startsWith(`${name}-`))) {
    rmSync(join(folder, other), { recursive: true, force: true });
  }
  const newFolder = `${imageFolder}.new`;
  const tree = join(newFolder, 'tree');
  mkdirSync(newFolder, { mode: 0o700 });
  try {
    print(`Installs Debian ${SUITE} for ${name} …`);
    install(architecture, tree);
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'board', '-f', join(newFolder, 'key')]);
    configure(tree, readFileSync(join(newFolder, 'key.pub'), 'utf8'));
    copyFileSync(kernelOf(tree), join(newFolder, 'kernel'));
    makeDiskInitrd(tree, join(newFolder, 'initrd'));
    writeFileSync(join(newFolder, 'disk'), '');
    truncateSync(join(newFolder, 'disk'), DISK_BYTES);
    execFileSync('mke2fs', ['-q', '-t', 'ext4', '-d', tree, join(newFolder, 'disk')]);
    rmSync(tree, { recursive: true, force: true });
    renameSync(newFolder, imageFolder);
  } catch (error) {
    rmSync(newFolder, { recursive: true, force: true });
    throw error;
  }
  return image;
}

/** Installs the packages, whose scripts run in QEMU's user emulation. */
function install({ name, kernel, interpreter }: Architecture, tree: string): void {
  const unregister = interpreter === undefined ? () => {} : registerInterpreter(interpreter);
  try {
    // In a new mount namespace: its mounts in the tree disappear with it, even if it is killed, so that the removal of the tree
    // never reaches this machine's own files.
    execFileSync(
      'unshare',
      [
        ...[
          '--mount',
          '--propagation',
          'private',
          'mmdebstrap',
          '--mode=root',
          '--variant=minbase',
          '--format=directory',
          `--architectures=${name}`,
        ],
        ...[`--include=${[...PACKAGES, kernel].join(',')}`, SUITE, tree, MIRROR],
      ],
      // INITRD=No: the hook of initramfs-tools in /etc/kernel/postinst.d creates no initrd.
      { stdio: ['ignore', 'inherit', 'inherit'], env: { ...process.env, INITRD: 'No' } },
    );
  } finally {
    unregister();
  }
}

function configure(tree: string, publicKey: string): void {
  const write = (path: string, text: string, mode = 0o644) => {
    mkdirSync(join(tree, dirname(path)), { recursive: true });
    rmSync(join(tree, path), { force: true });
    writeFileSync(join(tree, path), text, { mode });
  };
  for (const [path, text] of Object.entries(FILES)) write(path, text);
  mkdirSync(join(tree, 'root/.ssh'), { recursive: true, mode: 0o700 });
  write('root/.ssh/authorized_keys', publicKey, 0o600);
  const units = join(tree, 'etc/systemd/system');
  const link = (path: string, target: string) => {
    mkdirSync(join(units, dirname(path)), { recursive: true });
    rmSync(join(units, path), { force: true });
    symlinkSync(target, join(units, path));
  };
  link('multi-user.target.wants/systemd-networkd.service', '/usr/lib/systemd/system/systemd-networkd.service');
  for (const unit of MASKED) link(unit, '/dev/null');
  for (const wants of readdirSync(units).filter((entry) => entry.endsWith('.wants'))) {
    for (const unit of NOT_STARTED) rmSync(join(units, wants, `${unit}.service`), { force: true });
  }
}

function kernelOf(tree: string): string {
  const [name] = readdirSync(join(tree, 'boot')).filter((entry) => entry.startsWith('vmlinuz-'));
  if (name === undefined) throw new Error('no kernel was installed');
  return join(tree, 'boot', name);
}
