import { readable } from './readable.ts';

/**
 * How container engines name a container's cgroup: `name`, within a cgroup called `parent` where that matters.
 *
 * `docker-ID.scope`, `libpod-ID.scope`, `cri-containerd-ID.scope`, `crio-ID.scope`: getUnitName() of opencontainers/cgroups,
 * systemd/common.go, with each engine's prefix. `libpod-payload-ID`: podman run --cgroups=split. A bare ID:
 * cgroupfs, below `/docker` or `/kubepods/…/podUID`. `…slice:cri-containerd:ID`: containerd without SystemdCgroup.
 * lxc: lxc.cgroup.dir of lxc.container.conf(5), and src/lxc/cgroups/cgroup.h; `/lxc/NAME` and `/lxc.payload/NAME` before 4.0.
 * machines: systemd-machined.service(8) and systemd-nspawn@.service. `/docker/buildkit/ID`: one step of a build.
 */
const CONTAINER_GROUPS: readonly { readonly name: RegExp; readonly parent?: RegExp }[] = [
  { name: /^(?:.*[-:])?([0-9a-f]{64})(?:\.scope)?$/ },
  { name: /^lxc\.payload\.(.+)$/ },
  { name: /^(.+)$/, parent: /^(?:lxc|lxc\.payload|buildkit)$/ },
  { name: /^machine-(.+)\.scope$/ },
  { name: /^systemd-nspawn@(.+)\.service$/ },
];

/** Cgroups with a container's name that are outside of it: conmon, and the virtual machines of libvirt. */
const BESIDE = /^(?:.*-)?conmon-|^machine-qemu\\x2d/;
/** The cgroup of systemd-nspawn itself, one of the two within a machine's. The other is `payload`. */
const SUPERVISOR = 'supervisor';
const MACHINE = /^(?:machine-|systemd-nspawn@)/;

/** Printable: at most as long as a file name, without whitespace and control characters. */
const PRINTABLE = /^[^\s\p{C}]{1,255}$/u;

/** The container of a cgroup, by the cgroup's name and its parents. */
export function containerCalled(name: string, parent: string, child: string | undefined): string | undefined {
  if (BESIDE.test(name) || (child === SUPERVISOR && MACHINE.test(name))) return undefined;
  for (const group of CONTAINER_GROUPS) {
    if (group.parent !== undefined && !group.parent.test(parent)) continue;
    const id = group.name.exec(name)?.[1];
    if (id !== undefined) return printable(MACHINE.test(name) ? unescapeUnit(id) : id);
  }
  return undefined;
}

const printable = (id: string) => (PRINTABLE.test(id) ? id : undefined);

/** `web\x2d1` → `web-1`. Machine names contain no other escaped characters; see systemd-escape(1). */
const unescapeUnit = (text: string) =>
  text.replace(/\\x([2-7][0-9a-f])/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)));

/**
 * Finds the container in /proc/PID/cgroup, see cgroups(7): `HIERARCHY:CONTROLLERS:PATH` in each line. For nested containers
 * it is the innermost one, which is the one that the user who started the process knows.
 *
 *     0::/system.slice/docker-3c9f…e1.scope/init.scope
 *
 * The paths are relative to the reader's own cgroup namespace. For an agent in a container with such a namespace, another
 * container is `/../docker-3c9f…e1.scope`, which is recognised too, and its own is `/`, which has no name.
 *
 * @returns 64 hexadecimal digits, or the name by which LXC or systemd-machined know it
 */
export function containerIn(cgroups: string): string | undefined {
  let before: string | undefined;
  for (const line of cgroups.split('\n')) {
    const path = line.slice(line.indexOf(':', line.indexOf(':') + 1) + 1);
    if (path === '/' || path === before) continue; // usually the same in all hierarchies
    before = path;
    const names = path.replace(/ \(deleted\)$/, '').split('/');
    for (let at = names.length - 1; at > 0; at -= 1) {
      const id = containerCalled(names[at] ?? '', names[at - 1] ?? '', names[at + 1]);
      if (id !== undefined) return id;
    }
  }
  return undefined;
}

/**
 * The paths of a process in the hierarchy that systemd manages, from its /proc/PID/cgroup. Lines end with a line feed only: a
 * group's name may have any other character, such as a carriage return.
 */
export const systemdGroups = (cgroups: string): string[] =>
  cgroups.split('\n').flatMap((line) => /^(?:0:|\d+:name=systemd):(.*)$/s.exec(line)?.[1] ?? []);

/** The service of `/system.slice/system-getty.slice/getty@tty1.service/x`; `undefined` for user slices and containers. */
export const systemServiceIn = (path: string): string | undefined =>
  /^\/system\.slice\/(?:[^/]+\.slice\/)*([^/]+\.service)(?:\/|$)/.exec(path)?.[1];

/** How the marks of container engines are read; each caller has its own limits. Paths are absolute. */
export interface ContainerMarks {
  exists(path: string): boolean;
  /** '' when it cannot be read. */
  text(path: string): string;
  /** The environment of the first process; '' when it cannot be read. */
  initEnvironment(): string;
}

/** Files that container runtimes create in every container. */
const CONTAINER_FILES = [
  ['/run/.containerenv', 'podman'],
  ['/.dockerenv', 'docker'],
] as const;

/** Parts of the first process's cgroup paths, from before cgroup namespaces existed. */
const CONTAINER_GROUP = /\/(?:docker|kubepods|lxc|libpod)/;

/**
 * The kind of container that these files belong to: `docker`, `podman`, `systemd-nspawn`, `lxc`,
 * `container-other` … The checks and their order follow systemd-detect-virt(1), see virt.c of systemd; and
 * https://systemd.io/CONTAINER_INTERFACE/.
 *
 * @returns `undefined` if no container is detected
 */
export function containerKind(marks: ContainerMarks): string | undefined {
  if (marks.exists('/proc/vz') && !marks.exists('/proc/bc')) return 'openvz';
  if (/Microsoft|WSL/.test(marks.text('/proc/sys/kernel/osrelease'))) return 'wsl';
  const manager =
    marks.text('/run/host/container-manager') ||
    marks.text('/run/systemd/container') ||
    variableIn(marks.initEnvironment());
  const name = readable(manager);
  const file = CONTAINER_FILES.find(([path]) => marks.exists(path))?.[1];
  if (name !== undefined && name !== 'oci') return name; // oci can be any runtime of that standard
  return file ?? name ?? (isBelowAnother(marks) ? 'container-other' : undefined);
}

/** The variable that container managers set for the first process. */
const variableIn = (environment: string): string => /(?:^|\0)container=([^\0]*)/.exec(environment)?.[1] ?? '';

/** Whether the visible root cgroup is not the real one, which has no cgroup.type; or has the name of a container's. */
const isBelowAnother = (marks: ContainerMarks): boolean =>
  marks.exists('/sys/fs/cgroup/cgroup.type') || CONTAINER_GROUP.test(marks.text('/proc/1/cgroup'));
