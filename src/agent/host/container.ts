import { readable } from './readable.ts';

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
