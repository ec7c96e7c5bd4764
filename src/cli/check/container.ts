import { existsSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { container as containerOf } from '../../linux/machine/virtualization.ts';
import { isKeptFromOthersMemory } from '../../linux/self/system-call-filter.ts';
import { type Finding, note, ok, wrong } from './finding.ts';
import type { Check } from './situation.ts';

const NAME = 'container';

/** Of linux/proc_ns.h: the numbers of the namespaces that the machine starts with. */
const FIRST_PIDS = 'pid:[4026531836]';
const FIRST_USERS = 'user:[4026531837]';

/** What can be seen of the host from within a container, and what would show the rest. Says nothing outside of one. */
export const container: Check = {
  name: NAME,
  run: ({ local: { hostRoot } }) =>
    describeContainer({
      kind: containerOf('/'),
      hostRoot,
      link: (path) => linkAt(path),
      isCaged: isKeptFromOthersMemory(),
    }),
};

/**
 * @param link where a link of /proc/PID/ns leads; `undefined` when it can't be read
 * @param isCaged whether a filter of system calls keeps it out of other processes' memory; `undefined`: not known
 */
export function describeContainer({
  kind,
  hostRoot,
  link,
  isCaged,
}: {
  kind: string | undefined;
  hostRoot: string;
  link: (path: string) => string | undefined;
  isCaged: boolean | undefined;
}): Finding[] {
  if (kind === undefined && hostRoot === '/') return [];
  const told = kind ?? 'none that is known';
  const isHostPids = link('/proc/self/ns/pid') === FIRST_PIDS;
  const findings = [
    files(hostRoot),
    users(link('/proc/self/ns/user')),
    processes(isHostPids, hostRoot),
    network(link('/proc/self/ns/net'), hostNetwork(hostRoot, link), isHostPids),
    isCaged === false ? uncaged() : undefined,
  ].filter((finding) => finding !== undefined);
  if (findings.length > 0) return findings;
  return [ok(NAME, `${told}; the host's processes, network and files are all seen (${hostRoot})`)];
}

function uncaged(): Finding {
  const what =
    "its filter of system calls lets whoever takes the agent over write into the memory of the host's processes";
  return note(
    NAME,
    what,
    'Start the container with --security-opt=seccomp=config/seccomp.json, of the sources of Vakt.',
  );
}

function users(own: string | undefined): Finding | undefined {
  if (own === undefined || own === FIRST_USERS) return undefined;
  const what =
    "users are mapped (a rootless engine, or userns): the kernel's audit can't be had, nor any other's secrets";
  return note(NAME, what, 'Let the host run the container as a system container, without --userns.');
}

function processes(isHostPids: boolean, hostRoot: string): Finding | undefined {
  if (isHostPids) return undefined;
  const seen =
    hostRoot === '/' ? 'only processes of this container are seen' : "the host's processes are seen in its /proc only";
  const what = `${seen}: no program starts, logins and connections, since the kernel's audit speaks to nobody in here`;
  return note(NAME, what, 'Start the container with --pid=host.');
}

/** That of init; or of the kernel's own threads (process 2), where something hides init. */
const hostNetwork = (hostRoot: string, link: (path: string) => string | undefined): string | undefined =>
  link(join(hostRoot, 'proc/1/ns/net')) ?? link(join(hostRoot, 'proc/2/ns/net'));

function network(own: string | undefined, host: string | undefined, isHostProc: boolean): Finding | undefined {
  if (own !== undefined && own === host && isHostProc) return undefined;
  const remedy = 'Start the container with --network=host.';
  if (own !== undefined && host !== undefined && own !== host) {
    const what = "listening ports, firewall and ends of processes are this container's own, not the host's";
    return note(NAME, what, remedy);
  }
  const what = "whether the network is the host's can't be seen (it takes --pid=host and CAP_SYS_PTRACE)";
  return note(NAME, `${what}; if it isn't, ports and firewall are this container's own`, remedy);
}

function files(hostRoot: string): Finding | undefined {
  if (hostRoot === '/') {
    const what = "accounts, the system's name and version, logins and digests are this container's own, not the host's";
    return note(NAME, what, 'Add --volume /:/host:ro and --env VAKT_HOST_ROOT=/host.');
  }
  if (!existsSync(join(hostRoot, 'etc/passwd'))) {
    const what = `hostRoot is ${hostRoot}, where no system is mounted: accounts, name and version, logins are missing`;
    return wrong(NAME, what, `Mount the host's root there (--volume /:${hostRoot}:ro), or set hostRoot to "/".`);
  }
  if (existsSync(join(hostRoot, 'proc/self'))) return undefined;
  const what = `${hostRoot} was mounted without what is mounted below it: ${join(hostRoot, 'proc')} is empty`;
  return wrong(NAME, what, `Mount it with all that is in it (rbind): --volume /:${hostRoot}:ro.`);
}

function linkAt(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}
