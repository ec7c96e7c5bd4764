import { posix } from 'node:path';
import { systemdGroups, systemServiceIn } from '../../host/cgroups.ts';
import type { Unreadable } from '../../host/host-files.ts';
import { parseUserId } from '../../host/proc-folder.ts';
import type { Access } from '../access.ts';
import { firstOrdinaryUid } from './accounts.ts';

/** The part of `Access` that is needed here. */
type Needs = Pick<Access, 'files' | 'pace' | 'runs'>;

/** Limit of entries read from /proc: each takes about 20 µs. */
const MAX_ENTRIES = 200_000;
/** Maximum length of a process name in the kernel: TASK_COMM_LEN of linux/sched.h, without the terminating zero. */
export const NAME_BYTES = 15;
/** Multi-call programs, which behave as the name that they are started by. */
const MULTI_CALL = ['busybox', 'toybox'];

/** A process whose own name, or whose program's name, is `name`. */
export interface NamedProcess {
  readonly pid: string;
  readonly name: string;
}

/** The running processes. */
export interface Processes {
  /** By their own names, and by their programs' names, cut to 15 bytes. */
  readonly byName: ReadonlyMap<string, readonly NamedProcess[]>;
  /** Why there may be others. */
  readonly unreadable?: Unreadable;
}

/**
 * All processes by name. Empty where nothing runs.
 *
 * A process can set its own name by prctl(2). So a name shows that a service may be running, but does not prove it: see
 * `isProven`.
 */
export async function readProcesses(access: Needs): Promise<Processes> {
  const byName = new Map<string, NamedProcess[]>();
  if (!access.runs) return { byName };
  const look = access.files.someEntries('/proc', MAX_ENTRIES);
  if (!('found' in look)) return { byName, unreadable: 'missing' in look ? NO_PROC : look };
  let problem = look.found.cut ? unreadable(`/proc holds more than ${MAX_ENTRIES} entries`) : undefined;
  const pids = look.found.names.filter((name) => /^\d+$/.test(name));
  if (!pids.includes('1')) problem ??= HIDDEN;
  for (const pid of pids) {
    const comm = access.files.bytes(`/proc/${pid}/comm`, 64);
    if ('unreadable' in comm) problem ??= comm;
    const link = access.files.link(`/proc/${pid}/exe`);
    const names = new Set([
      ...('found' in comm ? [comm.found.toString('utf8').replace(/\n$/, '')] : []),
      ...('found' in link ? [nameOf(link.found)] : []),
    ]);
    for (const name of names) {
      const sameName = byName.get(name);
      if (sameName === undefined) byName.set(name, [{ pid, name }]);
      else sameName.push({ pid, name });
    }
    await access.pace();
  }
  return problem === undefined ? { byName } : { byName, unreadable: problem };
}

const unreadable = (reason: string): Unreadable => ({ unreadable: reason, denied: false });
const NO_PROC = unreadable('there is no /proc');
/** By the mount option hidepid, see proc(5). */
const HIDDEN: Unreadable = { unreadable: 'processes of others are hidden from the agent', denied: true };

/** The name of an executable as the kernel would cut it. */
const nameOf = (executable: string) =>
  Buffer.from(posix.basename(program(executable)))
    .subarray(0, NAME_BYTES)
    .toString('utf8');

/** A program replaced by an upgrade keeps running, and its link then ends in ` (deleted)`. */
const program = (executable: string) => executable.replace(/ \(deleted\)$/, '');

/**
 * Whether a process is the service that its name suggests, by facts that its user cannot choose. It must have a system
 * user, since cron's programs of ordinary users are in its service's cgroup, too. And either
 *
 * - its cgroup belongs to a system unit of one of these names; containers have cgroups of their own; or
 * - it runs a program of that name, which only root can change, in the first process's mount namespace, and, where systemd
 *   runs, in any system service.
 *
 * @returns why it is not; `Unreadable` if that cannot be determined
 */
export async function isProven(
  { pid, name }: NamedProcess,
  units: readonly string[],
  access: Pick<Access, 'files'>,
): Promise<true | string | Unreadable> {
  const { files } = access;
  const groups = files.text(`/proc/${pid}/cgroup`, 64 * 1024);
  const paths = 'found' in groups ? systemdGroups(groups.found) : [];
  const services = paths.map(systemServiceIn).filter((service) => service !== undefined);
  const status = files.text(`/proc/${pid}/status`, 16 * 1024);
  if ('unreadable' in status) return status;
  const uid = 'found' in status ? parseUserId(status.found) : undefined;
  if (uid === undefined) return 'it has ended';
  const isDynamic = services.length > 0 && uid >= DYNAMIC[0] && uid <= DYNAMIC[1];
  const firstUid = firstOrdinaryUid(access);
  if (!isDynamic && uid !== 0) {
    if (typeof firstUid !== 'number') return firstUid;
    if (uid >= firstUid) return `it is user ${uid}'s`;
  }
  if (services.some((service) => units.includes(service))) return true;
  const link = files.link(`/proc/${pid}/exe`);
  if ('unreadable' in link) return link;
  if ('missing' in link) return 'it has no program';
  const executable = program(link.found);
  const isNamedSo = nameOf(executable) === name || (MULTI_CALL.includes(posix.basename(executable)) && uid === 0);
  if (!isNamedSo) return `it is ${executable}`;
  const isBelowOurs = paths.some((path) => path.startsWith('/..')); // the agent has a cgroup namespace of its own
  if (files.isFolder('/run/systemd/system') && !isBelowOurs)
    return services.length > 0 ? changeableByOthers(executable, access) : 'it is not a system service';
  const [own, first] = [files.link(`/proc/${pid}/ns/mnt`), files.link('/proc/1/ns/mnt')];
  if ('unreadable' in own) return own;
  if ('unreadable' in first) return first;
  if ('found' in own && 'found' in first && own.found === first.found) return changeableByOthers(executable, access);
  return isBelowOurs ? unreadable('which service it belongs to can’t be seen from here') : 'it runs in a container';
}

/** User ids that systemd allocates to a service while it runs: DynamicUser= of systemd.exec(5). */
const DYNAMIC = [61_184, 65_519] as const;

/** @returns `true` when root alone can change the program and what leads to it */
function changeableByOthers(executable: string, { files }: Pick<Access, 'files'>): true | string | Unreadable {
  for (let path = executable; ; path = posix.dirname(path)) {
    const look = files.stat(path);
    if ('unreadable' in look) return look;
    if (!('found' in look)) return `${path} does not exist`;
    const { uid, gid, mode } = look.found;
    if (uid !== 0) return `${path} belongs to user ${uid}`;
    const isOthers = (mode & 0o002) !== 0 || ((mode & 0o020) !== 0 && gid !== 0);
    if (isOthers) return `${path} is writable by others than root`;
    if (path === '/') return true;
  }
}
