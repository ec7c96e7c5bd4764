import { readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { exists } from '../../../core/base/paths.ts';
import { hostProc } from '../../host/in-root.ts';
import { container as containerOf } from '../../linux/machine/virtualization.ts';
import { isMemoryAccessFiltered } from '../../linux/self/system-call-filter.ts';
import { type Finding, note, ok, wrong } from './finding.ts';
import { capabilitiesOf, processOf } from './process.ts';
import type { Check, RunningAgent } from './situation.ts';

const CAPABILITIES = 'capabilities';

/** The capabilities that the agent uses, by their numbers in linux/capability.h. */
const USED_CAPABILITIES: readonly (readonly [number: number, name: string, purpose: string])[] = [
  [30, 'CAP_AUDIT_CONTROL', 'program starts, connections, logins'],
  [37, 'CAP_AUDIT_READ', 'the same, beside auditd'],
  [12, 'CAP_NET_ADMIN', 'the packet filter, ends of processes, larger receive buffers for bursts'],
  [2, 'CAP_DAC_READ_SEARCH', "other users' files and sockets"],
  [19, 'CAP_SYS_PTRACE', "other users' programs"],
];

export const capabilities: Check = {
  name: CAPABILITIES,
  worksWithoutConfiguration: true,
  run({ agent, local: { identity } }) {
    const held = capabilitiesOf(processOf(agent));
    return held === undefined ? [] : describeCapabilities({ held, agent, isEdge: identity.kind === 'edge' });
  },
};

/** @param held a bit mask, see capabilities(7) */
export function describeCapabilities({
  held,
  agent,
  isEdge,
}: {
  held: bigint;
  agent: RunningAgent;
  isEdge: boolean;
}): Finding[] {
  const missing = USED_CAPABILITIES.filter(([number]) => ((held >> BigInt(number)) & 1n) === 0n);
  if (missing.length === 0) return [ok(CAPABILITIES, 'all that the agent uses')];
  const list = missing.map(([, name, purpose]) => `${name} (${purpose})`).join(', ');
  const subject = agent.status === undefined ? 'this user lacks' : 'the running agent lacks';
  return [note(CAPABILITIES, `${subject} ${list}`, isEdge ? EDGE_REMEDY : REMEDY)];
}

const REMEDY =
  'Start the agent by the shipped systemd unit, which grants them; for a container, use --cap-add and the unmodified image.';

/** The daemon only logs a warning when it removes the capabilities that a deployment adds. */
const EDGE_REMEDY =
  "IoT Edge removes a deployment's capabilities if /etc/aziot/config.toml on the host has allow_elevated_docker_permissions = false: " +
  'set it to true, run "sudo iotedge config apply" and "sudo docker rm --force azureiotsecurity" (the name of the module). ' +
  'If it is true or absent, use the CapAdd of the shipped deployment.';

const PROCESSES = 'processes';

/** Whether the agent reads of processes where a user can make it wait. */
export const processes: Check = {
  name: PROCESSES,
  worksWithoutConfiguration: true,
  run: ({ agent, local: { hostRoot } }) => {
    const proc = hostProc(hostRoot);
    const seen = proc === '/proc' ? join(processOf(agent), 'root/proc') : proc;
    return checkProc({ agents: deviceOf(seen), hosts: deviceOf('/proc/1/root/proc') });
  },
};

/** @param devices of the /proc that the agent reads, and of the first process's; `undefined`: it can't be examined */
export function checkProc({ agents, hosts }: { agents: number | undefined; hosts: number | undefined }): Finding[] {
  if (agents === undefined || hosts === undefined) return []; // not without CAP_SYS_PTRACE
  if (agents !== hosts) return [ok(PROCESSES, 'are read from a /proc that no other program has')];
  const problem =
    "any user can make the agent hang: it reads of processes from the system's /proc, whose folders users can keep locked";
  const remedy =
    'Run it as the service, whose ProtectProc= gives it a /proc of its own, or in a container with --pid=host; both need Linux 5.8.';
  return [note(PROCESSES, problem, remedy)];
}

function deviceOf(path: string): number | undefined {
  try {
    return statSync(path).dev;
  } catch {
    return undefined;
  }
}

const CONTAINER = 'container';

/** The inode numbers of the initial namespaces, from linux/proc_ns.h. */
const FIRST_PIDS = 'pid:[4026531836]';
const FIRST_USERS = 'user:[4026531837]';

/**
 * What the agent can see of the host from within a container, and how to let it see the rest. No findings elsewhere.
 */
export const container: Check = {
  name: CONTAINER,
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
    visibleFiles(hostRoot),
    userNamespace(link('/proc/self/ns/user')),
    visibleProcesses(isHostPids, hostRoot),
    visibleNetwork(link('/proc/self/ns/net'), hostNetwork(hostRoot, link), isHostPids),
    isFiltered === false ? notFiltered() : undefined,
  ].filter((finding) => finding !== undefined);
  if (findings.length > 0) return findings;
  return [ok(CONTAINER, `${engine}; the host's processes, network and files are visible (${hostRoot})`)];
}

function notFiltered(): Finding {
  const problem =
    "its seccomp filter lets an attacker who has taken over the agent write into the memory of the host's processes";
  return note(
    CONTAINER,
    problem,
    'Start the container with --security-opt=seccomp=config/seccomp.json, a file from the sources of Vakt.',
  );
}

function userNamespace(own: string | undefined): Finding | undefined {
  if (own === undefined || own === FIRST_USERS) return undefined;
  const problem =
    "it has its own user namespace (a rootless engine, or userns): the agent can't use the kernel's audit or read other users' files";
  return note(CONTAINER, problem, 'Run the container as root of the host, without --userns.');
}

function visibleProcesses(isHostPids: boolean, hostRoot: string): Finding | undefined {
  if (isHostPids) return undefined;
  const seen =
    hostRoot === '/'
      ? 'only processes of this container are visible'
      : "the host's processes are visible only in its mounted /proc";
  const problem = `${seen}: program starts, logins and connections are not reported, since the kernel's audit requires the host's pid namespace`;
  return note(CONTAINER, problem, 'Start the container with --pid=host.');
}

const BESIDE_AUDITD = "beside auditd, the kernel's audit can be read from auditd's log only";

/** The network namespace of init, or of kernel threads (process 2) if init's can't be read. */
const hostNetwork = (hostRoot: string, link: (path: string) => string | undefined): string | undefined =>
  link(join(hostRoot, 'proc/1/ns/net')) ?? link(join(hostRoot, 'proc/2/ns/net'));

function visibleNetwork(own: string | undefined, host: string | undefined, isHostProc: boolean): Finding | undefined {
  if (own !== undefined && own === host && isHostProc) return undefined;
  const remedy = 'Start the container with --network=host.';
  if (own !== undefined && host !== undefined && own !== host) {
    const problem = "listening ports, firewall and ends of processes are those of this container, not the host's";
    return note(CONTAINER, `${problem}; ${BESIDE_AUDITD}`, remedy);
  }
  const problem = "whether the network is the host's can't be determined (that needs --pid=host and CAP_SYS_PTRACE)";
  return note(
    CONTAINER,
    `${problem}; if it isn't, ports and firewall are those of this container, and ${BESIDE_AUDITD}`,
    remedy,
  );
}

function visibleFiles(hostRoot: string): Finding | undefined {
  if (hostRoot === '/') {
    const problem =
      "accounts, the system's name and version, logins and digests are those of this container, not the host's";
    return note(CONTAINER, problem, 'Add --volume /:/host:ro and --env VAKT_HOST_ROOT=/host.');
  }
  if (!exists(join(hostRoot, 'etc/passwd'))) {
    const problem = `no system is mounted at hostRoot, ${hostRoot}: accounts, name and version, and logins are missing`;
    return wrong(
      CONTAINER,
      problem,
      `Mount the host's root there (--volume /:${hostRoot}:ro), or set hostRoot to "/".`,
    );
  }
  if (exists(join(hostRoot, 'proc/self'))) return undefined;
  const problem = `${hostRoot} was mounted without its submounts: ${join(hostRoot, 'proc')} is empty`;
  return wrong(CONTAINER, problem, `Mount it with its submounts (rbind): --volume /:${hostRoot}:ro.`);
}

function linkAt(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}
