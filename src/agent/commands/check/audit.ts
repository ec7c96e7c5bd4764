import { join } from 'node:path';
import { readOptional } from '../../../core/base/bounded-file.ts';
import { systemClock } from '../../../core/base/clock.ts';
import { AgentError, errnoOf, messageOf } from '../../../core/base/errors.ts';
import { exists } from '../../../core/base/paths.ts';
import { counted } from '../../../core/base/text.ts';
import { AuditControl } from '../../linux/audit/control.ts';
import { hiddenBy } from '../../linux/audit/hiding-rules.ts';
import { type KernelRule, LOCKED_REMEDY } from '../../linux/audit/rules.ts';
import type { AuditStatus } from '../../linux/audit/status.ts';
import { enablesAudit } from '../../linux/audit/unaudited-processes.ts';
import { NETLINK_AUDIT, openNetlink } from '../../linux/native/netlink/socket.ts';
import { runsOwnProgram } from '../../linux/self/service-unit.ts';
import { type Finding, note, ok, wrong } from './finding.ts';
import { type Check, step } from './situation.ts';

const NAME = 'audit';

/** The state of the kernel's audit: its daemon, its rules, and the records that it lost. Changes nothing. */
export const audit: Check = {
  name: NAME,
  worksWithoutConfiguration: true,
  async run({ agent, local, signal }) {
    let control: AuditControl | undefined;
    try {
      control = new AuditControl(openNetlink(NETLINK_AUDIT), systemClock);
      const status = await step("the kernel's audit", control.status(), signal);
      const rules = await step("audit's rules", control.rules(), signal);
      const runs = agent.status !== undefined || agent.statusError !== undefined;
      return [
        ...checkAudit(status, rules, agent.status?.pid, runs || runsOwnProgram(status.pid)),
        ...checkKernelCommandLine(NAME, local.hostRoot),
      ];
    } catch (error) {
      signal.throwIfAborted();
      const errno = errnoOf(error instanceof AgentError ? error.cause : error);
      const remedy = errno === undefined && error instanceof AgentError ? error.remedy : ASK_AS_ROOT;
      return [note(NAME, `its status can't be read: ${errno ?? messageOf(error)}`, REMEDIES[errno ?? ''] ?? remedy)];
    } finally {
      control?.close();
    }
  },
};

const ASK_AS_ROOT =
  'Run this command as root. The agent itself needs CAP_AUDIT_CONTROL and CAP_AUDIT_READ, and a kernel with audit.';
const REMEDIES: Readonly<Record<string, string>> = {
  EPERM:
    "Run this command as root. The agent itself needs CAP_AUDIT_CONTROL and CAP_AUDIT_READ, and in a container the host's pid and user namespaces (--pid=host).",
  EPROTONOSUPPORT:
    'Start a container with --security-opt=seccomp=config/seccomp.json (a file of Vakt), whose filter allows the audit socket. Elsewhere use a kernel with CONFIG_AUDIT=y, and without audit=0 or audit=off on its command line.',
};

/**
 * @param agentId the running agent's process id
 * @param runs whether the agent's rules may belong to a running agent or command
 */
export function checkAudit(
  { enabled, failure, pid, backlogLimit, lost }: AuditStatus,
  rules: readonly KernelRule[],
  agentId?: number,
  runs = true,
): Finding[] {
  const ownRules = rules.filter((rule) => rule.ours).length;
  const daemon = pid === 0 ? 'no daemon' : pid === agentId ? 'the agent is its daemon' : `its daemon is process ${pid}`;
  const summary = `${STATES[enabled] ?? enabled}, ${daemon}, ${counted(rules.length, 'rule')} (${ownRules} of them the agent's), backlog ${backlogLimit}, ${counted(lost, 'record')} lost since boot`;
  if (enabled === 2 && ownRules === 0) {
    return [wrong(NAME, `${summary}; the agent's rules can't be added until a reboot`, LOCKED_REMEDY)];
  }
  if (ownRules > 0 && !runs) {
    const finding = `${summary}; these rules were left by an agent that was killed, and fill the kernel's log`;
    return [wrong(NAME, finding, 'Unless "vakt collect" or a dry run is running now: vakt remove-rules')];
  }
  const hidden = hiddenBy(rules);
  if (hidden !== undefined) {
    const { message, remedy } = hidden.reason;
    return [(hidden.isAll ? wrong : note)(NAME, `${summary}. ${message}`, remedy)];
  }
  if (failure === 2) {
    const remedy = 'Unless that is intended, run: auditctl -f 1';
    return [note(NAME, `${summary}; the kernel panics when it loses a record`, remedy)];
  }
  return [ok(NAME, summary)];
}

const STATES: Readonly<Record<number, string>> = { 0: 'off', 1: 'on', 2: 'locked' };

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
