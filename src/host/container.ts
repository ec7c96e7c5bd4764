import { readable } from './readable.ts';

/** How the marks that engines leave are looked at: by whoever asks, within his own limits. Paths are absolute. */
export interface ContainerMarks {
  exists(path: string): boolean;
  /** '' when it can't be read. */
  text(path: string): string;
  /** The environment of the first process; '' when it can't be read. */
  initEnvironment(): string;
}

/** Files that runtimes put into every container. */
const CONTAINER_FILES = [
  ['/run/.containerenv', 'podman'],
  ['/.dockerenv', 'docker'],
] as const;

/** Parts of the first process's cgroup paths, from a time before cgroup namespaces. */
const CONTAINER_GROUP = /\/(?:docker|kubepods|lxc|libpod)/;

/**
 * The container that a process is in whose files these are: `docker`, `podman`, `systemd-nspawn`, `lxc`,
 * `container-other` … The questions and their order are those of systemd-detect-virt(1), see virt.c of systemd; and
 * https://systemd.io/CONTAINER_INTERFACE/.
 *
 * @returns `undefined` outside of containers, as far as can be seen
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
  if (name !== undefined && name !== 'oci') return name; // oci: any runtime of that standard
  return file ?? name ?? (isBelowAnother(marks) ? 'container-other' : undefined);
}

/** The variable that container managers give the first process. */
const variableIn = (environment: string): string => /(?:^|\0)container=([^\0]*)/.exec(environment)?.[1] ?? '';

/** Whether what is seen as the top of the control groups isn't the top, which has no type; or is named as a container's. */
const isBelowAnother = (marks: ContainerMarks): boolean =>
  marks.exists('/sys/fs/cgroup/cgroup.type') || CONTAINER_GROUP.test(marks.text('/proc/1/cgroup'));
