import { join } from 'node:path';
import { exists } from '../../base/exists.ts';
import { readOptional } from '../../host/bounded-file.ts';
import { enablesAudit } from '../../linux/audit/unaudited-processes.ts';
import { type Finding, note } from './finding.ts';

const MAX_BYTES = 16 * 1024;

/** How to add a word to the kernel's command line in a boot loader's configuration. */
interface BootLoader {
  readonly name: string;
  /** A file that identifies this boot loader. */
  readonly sign: string;
  /** A command for a root shell. */
  readonly command: string;
}

/** The first one whose `sign` exists is used. */
const BOOT_LOADERS: readonly BootLoader[] = [
  {
    name: 'Raspberry Pi firmware',
    sign: 'boot/firmware/cmdline.txt',
    command: `sed -i '1s/$/ audit=1/' /boot/firmware/cmdline.txt`,
  },
  {
    name: 'extlinux',
    sign: 'boot/extlinux/extlinux.conf',
    command: `sed -i '/^[[:space:]]*append /I s/$/ audit=1/' /boot/extlinux/extlinux.conf`,
  },
  {
    name: 'U-Boot',
    sign: 'etc/fw_env.config',
    command: `fw_setenv bootargs "$(fw_printenv -n bootargs) audit=1"`,
  },
  {
    name: 'systemd-boot',
    sign: 'etc/kernel/cmdline',
    command: `sed -i '1s/$/ audit=1/' /etc/kernel/cmdline && kernel-install add "$(uname -r)" "/boot/vmlinuz-$(uname -r)"`,
  },
  {
    name: 'GRUB',
    sign: 'etc/default/grub',
    command: `mkdir -p /etc/default/grub.d && echo 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX audit=1"' >/etc/default/grub.d/audit.cfg && update-grub`,
  },
];

/**
 * Whether audit is enabled before the first process starts. Otherwise, the kernel never audits processes that started
 * before audit was first enabled.
 */
export function judgeKernelCommandLine(check: string, hostRoot: string, commandLine = kernelCommandLine()): Finding[] {
  if (commandLine === undefined || enablesAudit(commandLine)) return [];
  const what =
    "audit=1 isn't on the kernel's command line: processes that started before audit was first enabled are not audited, " +
    'only their new threads and children';
  return [note(check, what, remedy(hostRoot))];
}

const kernelCommandLine = () => readOptional('/proc/cmdline', MAX_BYTES);

function remedy(hostRoot: string): string {
  const found = BOOT_LOADERS.find(({ sign }) => exists(join(hostRoot, sign)));
  const ways = (found === undefined ? BOOT_LOADERS : [found]).map(({ name, command }) => `${name}: ${command}`);
  const asRoot = `Add it as root, and reboot. ${ways.join(' · ')}`;
  return `${asRoot} · Until then, restart the services that the status of ConnectionCreate names.`;
}
