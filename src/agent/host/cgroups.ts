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
