import { readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { exists } from '../../../core/base/paths.ts';
import { container as containerOf } from '../../linux/machine/virtualization.ts';
import { isMemoryAccessFiltered } from '../../linux/self/system-call-filter.ts';
import { type Finding, note, ok, wrong } from './finding.ts';
import type { Check } from './situation.ts';

const NAME = 'container';

/** The inode numbers of the initial namespaces, from linux/proc_ns.h. */
const FIRST_PIDS = 'pid:[4026531836]';
const FIRST_USERS = 'user:[4026531837]';

/**
 * What the agent can see of the host from within a container, and how to let it see the rest. No findings elsewhere.
 */
export const container: Check = {
  name: NAME,
  worksWithoutConfiguration: true,
  run: ({ local: { hostRoot } }) =>
    describeContainer({
      kind: containerOf('/'),
      hostRoot,
      link: (path) => linkAt(path),
      isFiltered: isMemoryAccessFiltered(),
    }),
};

/**
 * @param link reads a link of /proc/PID/ns; `undefined` when it can't be read
 * @param isFiltered whether a seccomp filter denies access to other processes' memory; `undefined`: unknown
 */
export function describeContainer({
  kind,
  hostRoot,
  link,
  isFiltered,
}: {
  kind: string | undefined;
  hostRoot: string;
  link: (path: string) => string | undefined;
  isFiltered: boolean | undefined;
}): Finding[] {
  if (kind === undefined && hostRoot === '/') return [];
  const engine = kind ?? 'unknown container engine';
  const isHostPids = link('/proc/self/ns/pid') === FIRST_PIDS;
  const findings = [
    files(hostRoot),
    users(link('/proc/self/ns/user')),
    processes(isHostPids, hostRoot),
    network(link('/proc/self/ns/net'), hostNetwork(hostRoot, link), isHostPids),
    isFiltered === false ? notFiltered() : undefined,
  ].filter((finding) => finding !== undefined);
  if (findings.length > 0) return findings;
  return [ok(NAME, `${engine}; the host's processes, network and files are visible (${hostRoot})`)];
}

function notFiltered(): Finding {
  const problem =
    "its seccomp filter lets an attacker who has taken over the agent write into the memory of the host's processes";
  return note(
    NAME,
    problem,
    'Start the container with --security-opt=seccomp=config/seccomp.json, a file from the sources of Vakt.',
  );
}

function users(own: string | undefined): Finding | undefined {
  if (own === undefined || own === FIRST_USERS) return undefined;
  const problem =
    "it has its own user namespace (a rootless engine, or userns): the agent can't use the kernel's audit or read other users' files";
  return note(NAME, problem, 'Run the container as root of the host, without --userns.');
}

function processes(isHostPids: boolean, hostRoot: string): Finding | undefined {
  if (isHostPids) return undefined;
  const seen =
    hostRoot === '/'
      ? 'only processes of this container are visible'
      : "the host's processes are visible only in its mounted /proc";
  const problem = `${seen}: program starts, logins and connections are not reported, since the kernel's audit requires the host's pid namespace`;
  return note(NAME, problem, 'Start the container with --pid=host.');
}

const BESIDE_AUDITD = "beside auditd, the kernel's audit can be read from auditd's log only";

/** The network namespace of init, or of kernel threads (process 2) if init's can't be read. */
const hostNetwork = (hostRoot: string, link: (path: string) => string | undefined): string | undefined =>
  link(join(hostRoot, 'proc/1/ns/net')) ?? link(join(hostRoot, 'proc/2/ns/net'));

function network(own: string | undefined, host: string | undefined, isHostProc: boolean): Finding | undefined {
  if (own !== undefined && own === host && isHostProc) return undefined;
  const remedy = 'Start the container with --network=host.';
  if (own !== undefined && host !== undefined && own !== host) {
    const problem = "listening ports, firewall and ends of processes are those of this container, not the host's";
    return note(NAME, `${problem}; ${BESIDE_AUDITD}`, remedy);
  }
  const problem = "whether the network is the host's can't be determined (that needs --pid=host and CAP_SYS_PTRACE)";
  return note(
    NAME,
    `${problem}; if it isn't, ports and firewall are those of this container, and ${BESIDE_AUDITD}`,
    remedy,
  );
}

function files(hostRoot: string): Finding | undefined {
  if (hostRoot === '/') {
    const problem =
      "accounts, the system's name and version, logins and digests are those of this container, not the host's";
    return note(NAME, problem, 'Add --volume /:/host:ro and --env VAKT_HOST_ROOT=/host.');
  }
  if (!exists(join(hostRoot, 'etc/passwd'))) {
    const problem = `no system is mounted at hostRoot, ${hostRoot}: accounts, name and version, and logins are missing`;
    return wrong(NAME, problem, `Mount the host's root there (--volume /:${hostRoot}:ro), or set hostRoot to "/".`);
  }
  if (exists(join(hostRoot, 'proc/self'))) return undefined;
  const problem = `${hostRoot} was mounted without its submounts: ${join(hostRoot, 'proc')} is empty`;
  return wrong(NAME, problem, `Mount it with its submounts (rbind): --volume /:${hostRoot}:ro.`);
}

function linkAt(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}
