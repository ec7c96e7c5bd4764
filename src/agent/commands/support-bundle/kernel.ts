import { release, version } from 'node:os';
import { readBounded } from '../../../core/base/bounded-file.ts';
import { errnoOf } from '../../../core/base/errors.ts';
import { kernelWords } from '../../host/kernel.ts';

/* Kernel facts about the system and the agent's process. */

/** Maximum size of one file of /proc or /sys. */
const MAX_FILE_BYTES = 64 * 1024;

/** Files with settings and figures of the kernel that the agent depends on. None names a user or a peer. */
const FILES = [
  '/proc/uptime',
  '/proc/loadavg',
  '/proc/meminfo',
  ...['cpu', 'io', 'memory'].map((name) => `/proc/pressure/${name}`),
  '/proc/mounts',
  '/proc/sys/kernel/hostname',
  '/proc/sys/kernel/tainted',
  '/proc/sys/kernel/random/boot_id',
  '/proc/sys/kernel/yama/ptrace_scope',
  '/proc/sys/kernel/io_uring_disabled',
  '/proc/sys/kernel/unprivileged_bpf_disabled',
  '/proc/sys/kernel/pid_max',
  '/proc/sys/fs/file-nr',
  '/proc/sys/net/core/rmem_max',
  '/sys/kernel/security/lsm',
  '/sys/kernel/security/lockdown',
  '/sys/fs/cgroup/cgroup.controllers',
];
/** Process id of the agent, or of this command. */
const PROCESS_FILES = ['status', 'limits', 'cgroup'];

/** Parameters of the kernel's command line that are shown; others may be secrets, for example of an installer. */
const PARAMETERS =
  /^(?:audit|audit_backlog_limit|apparmor|cgroup_\w+|console|init|lockdown|lsm|mem|mitigations|module\.sig_enforce|panic|quiet|ro|root|rootfstype|rootwait|rw|security|selinux|swapaccount|systemd\.unified_cgroup_hierarchy)$/;

/** @param process its folder in /proc, from `processOf` */
export function kernelFacts(process: string): string {
  const sections: readonly (readonly [title: string, text: () => string])[] = [
    ['uname', () => `${release()}\n${version()}`],
    ['/proc/cmdline, without other parameters', () => shownParameters(read('/proc/cmdline'))],
    ...[...FILES, ...PROCESS_FILES.map((name) => `${process}/${name}`)].map(
      (path) => [path, () => read(path)] as const,
    ),
  ];
  return sections.map(([title, text]) => `== ${title}\n${attempt(text)}\n`).join('\n');
}

const read = (path: string): string => readBounded(path, MAX_FILE_BYTES).trimEnd();

function attempt(text: () => string): string {
  try {
    return text();
  } catch (error) {
    return `[cannot be read: ${errnoOf(error) ?? 'larger than 64 KiB'}]`;
  }
}

/** The name of a parameter, from its beginning to `=` or its end. It may be in the quotes, too. */
const NAMED = /^"?([\w.-]+)=/;

/** Replaces all but the parameters that are known to be harmless, and the names of others. */
export const shownParameters = (commandLine: string): string =>
  kernelWords(commandLine)
    .map((word) => {
      const name = NAMED.exec(word)?.[1];
      if (PARAMETERS.test(name ?? word)) return word;
      return name === undefined ? '[left out]' : `${name}=[left out]`;
    })
    .join(' ');
