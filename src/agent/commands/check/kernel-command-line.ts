import { join } from 'node:path';
import { readOptional } from '../../../core/base/bounded-file.ts';
import { exists } from '../../../core/base/paths.ts';
import { enablesAudit } from '../../linux/audit/unaudited-processes.ts';
import { type Finding, note } from './finding.ts';

const MAX_BYTES = 16 * 1024;

/** How to add a word to the kernel's command line in a boot loader's configuration. */
interface BootLoader {
  readonly name: string;
  /** Files that together identify this boot loader, and the tools of its command. */
  readonly signs: readonly string[];
  /** A command for a root shell. */
  readonly command: string;
}

const GRUB_SETTING = `'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX audit=1"'`;

/** The first one whose `signs` all exist is used. */
const BOOT_LOADERS: readonly BootLoader[] = [
  {
    name: 'Raspberry Pi firmware',
    signs: ['boot/firmware/cmdline.txt'],
    command: `sed -i '1s/$/ audit=1/' /boot/firmware/cmdline.txt`,
  },
  {
    name: 'extlinux',
    signs: ['boot/extlinux/extlinux.conf'],
    command: `sed -i '/^[[:space:]]*append /I s/$/ audit=1/' /boot/extlinux/extlinux.conf`,
  },
  {
    name: 'U-Boot',
    signs: ['etc/fw_env.config'],
    command: `fw_setenv bootargs "$(fw_printenv -n bootargs) audit=1"`,
  },
  {
    name: 'grubby', // Fedora and RHEL, which have an /etc/kernel/cmdline also with GRUB
    signs: ['usr/sbin/grubby'],
    command: 'grubby --update-kernel=ALL --args=audit=1',
  },
  {
    name: 'systemd-boot',
    signs: ['etc/kernel/cmdline'],
    command: `sed -i '1s/$/ audit=1/' /etc/kernel/cmdline && kernel-install add "$(uname -r)" "/boot/vmlinuz-$(uname -r)"`,
  },
  {
    name: 'GRUB of Debian', // the update-grub of others, such as Void, does not read grub.d
    signs: ['etc/debian_version', 'etc/default/grub', 'usr/sbin/update-grub'],
    command: `mkdir -p /etc/default/grub.d && echo ${GRUB_SETTING} >/etc/default/grub.d/audit.cfg && update-grub`,
  },
  {
    name: 'grub2',
    signs: ['etc/default/grub', 'usr/sbin/grub2-mkconfig'],
    command: `echo ${GRUB_SETTING} >>/etc/default/grub && grub2-mkconfig -o /boot/grub2/grub.cfg`,
  },
  {
    name: 'GRUB',
    signs: ['etc/default/grub'],
    command: `echo ${GRUB_SETTING} >>/etc/default/grub && grub-mkconfig -o /boot/grub/grub.cfg`,
  },
];

/**
 * Whether audit is enabled before the first process starts. Otherwise, the kernel never audits processes that started
 * before audit was first enabled.
 */
export function checkKernelCommandLine(check: string, hostRoot: string, commandLine = kernelCommandLine()): Finding[] {
  if (commandLine === undefined || enablesAudit(commandLine)) return [];
  const problem =
    "audit=1 isn't on the kernel's command line: processes that started before audit was first enabled are not audited, " +
    'only their new threads and children';
  return [note(check, problem, remedy(hostRoot))];
}

const kernelCommandLine = () => readOptional('/proc/cmdline', MAX_BYTES);

function remedy(hostRoot: string): string {
  const found = BOOT_LOADERS.find(({ signs }) => signs.every((sign) => exists(join(hostRoot, sign))));
  const commands = (found === undefined ? BOOT_LOADERS : [found]).map(({ name, command }) => `${name}: ${command}`);
  const asRoot = `Add it as root, and reboot. ${commands.join(' · ')}`;
  return `${asRoot} · Until then, restart the services that the status of ConnectionCreate names.`;
}
