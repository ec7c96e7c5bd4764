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

/** The board's system: a Debian with its own kernel, and Node from Debian. */
export interface Image {
  readonly kernel: string;
  readonly initrd: string;
  /** ext4, raw and without partitions. */
  readonly disk: string;
  /** An ssh key of the board's root. */
  readonly key: string;
}

/** By this name the board reaches this machine's loopback interface. */
export const HUB_NAME = 'emulator.azure-devices.net';
/** This machine's loopback interface, as QEMU's network shows it to the board. */
export const HOST_ADDRESS = '10.0.2.2';

const SUITE = 'trixie';
/** Its main part only: the indexes of updates are not needed, and change every day. */
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
  // Empty, not "uninitialized", by which systemd would enable services by their presets.
  'etc/machine-id': '',
  'etc/systemd/network/80-board.network': '[Match]\nName=e*\n\n[Network]\nDHCP=yes\n',
  // Wrong passwords are part of a test, and must not shut this machine out.
  'etc/ssh/sshd_config.d/board.conf': 'PerSourcePenalties no\nMaxStartups 100\nUseDNS no\n',
};

/** auditd is started when its time has come; all others would disturb. */
const NOT_STARTED = ['auditd', 'audit-rules'];
const MASKED = [
  'apt-daily.timer',
  'apt-daily-upgrade.timer',
  'dpkg-db-backup.timer',
  'fstrim.timer',
  'e2scrub_all.timer',
];

/**
 * Makes an image, which takes some minutes and needs Debian's mirror, unless the folder has one of the same making.
 *
 * @param folder gets a folder of each image; other makings of an architecture are removed from it
 * @param told takes a line about what is done
 */
export function makeImage(architecture: Architecture, folder: string, told: (line: string) => void): Image {
  const { name } = architecture;
  const making = createHash('sha256');
  making.update(JSON.stringify([architecture, SUITE, PACKAGES, DISK_BYTES, FILES, NOT_STARTED, MASKED]));
  const place = join(folder, `${name}-${making.digest('hex').slice(0, 12)}`);
  const image = {
    kernel: join(place, 'kernel'),
    initrd: join(place, 'initrd'),
    disk: join(place, 'disk'),
    key: join(place, 'key'),
  };
  if (existsSync(place)) return image;
  mkdirSync(folder, { recursive: true });
  for (const other of readdirSync(folder).filter((entry) => entry.startsWith(`${name}-`))) {
    rmSync(join(folder, other), { recursive: true, force: true });
  }
  const beside = `${place}.new`;
  const tree = join(beside, 'tree');
  mkdirSync(beside, { mode: 0o700 });
  try {
    told(`Installs Debian ${SUITE} for ${name} …`);
    install(architecture, tree);
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'board', '-f', join(beside, 'key')]);
    configure(tree, readFileSync(join(beside, 'key.pub'), 'utf8'));
    copyFileSync(kernelOf(tree), join(beside, 'kernel'));
    makeDiskInitrd(tree, join(beside, 'initrd'));
    writeFileSync(join(beside, 'disk'), '');
    truncateSync(join(beside, 'disk'), DISK_BYTES);
    execFileSync('mke2fs', ['-q', '-t', 'ext4', '-d', tree, join(beside, 'disk')]);
    rmSync(tree, { recursive: true, force: true });
    renameSync(beside, place);
  } catch (error) {
    rmSync(beside, { recursive: true, force: true });
    throw error;
  }
  return image;
}

/** Installs the packages, whose scripts run by QEMU's user emulation. */
function install({ name, kernel, interpreter }: Architecture, tree: string): void {
  const unregister = interpreter === undefined ? () => {} : registerInterpreter(interpreter);
  try {
    // In a mount namespace of its own: what it mounts in the tree is gone with it, also when it is killed, so that the removal
    // of the tree never gets to this machine's own files.
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
      // INITRD=No: initramfs-tools makes none (its hook in /etc/kernel/postinst.d).
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
