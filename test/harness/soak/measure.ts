import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** USER_HZ is 100 on all platforms of Node. */
const MILLISECONDS_PER_TICK = 10;

/** Resources that an agent uses at one moment: its process, and its children that also run Node. */
export interface Usage {
  /** In MiB. A page that several processes share counts in each. */
  readonly rss: number;
  /** In MiB. A page that several processes share counts in parts: it grows when others that run Node end. */
  readonly pss: number;
  /** In MiB. The part of PSS without files, which does not depend on other processes. */
  readonly own: number;
  readonly descriptors: number;
  /** Allocated on disk by its state directory, in KiB. */
  readonly state: number;
}

/** @param stateDirectory may lose files during the call */
export function usageOf(pid: number, stateDirectory: string): Usage {
  const processes = processesOf(pid);
  const total = (one: (pid: number) => number) =>
    processes.reduce((all, process) => all + (attempt(() => one(process)) ?? 0), 0);
  return {
    rss: total((process) => field(`/proc/${process}/status`, 'VmRSS')) / 1_024,
    pss: total((process) => field(`/proc/${process}/smaps_rollup`, 'Pss')) / 1_024,
    own:
      total((process) => {
        const file = `/proc/${process}/smaps_rollup`;
        return field(file, 'Pss_Anon', Number.NaN) + field(file, 'Pss_Shmem', Number.NaN); // unknown before Linux 5.4
      }) / 1_024,
    descriptors: total((process) => readdirSync(`/proc/${process}/fd`).length),
    state: allocatedIn(stateDirectory) / 1_024,
  };
}

/**
 * CPU of the agent and its children so far, in ms: accurate to a nanosecond for running processes, to ten milliseconds
 * for those that have exited. See proc_pid_schedstat(5), and cutime and cstime in proc_pid_stat(5).
 *
 * @throws Error if the agent has exited
 */
export function cpuOf(pid: number): number {
  if (tasksOf(pid).length === 0) throw new Error(`process ${pid} has ended`);
  const ofProcess = (process: number) =>
    tasksOf(process).reduce(
      (all, task) =>
        all + (attempt(() => Number(readFileSync(`${task}/schedstat`, 'latin1').split(' ')[0]) / 1e6) ?? 0),
      0,
    );
  return processesOf(pid).reduce((all, process) => all + ofProcess(process), ofEnded(pid));
}

/** CPU of the children that a process has waited for, in ms. */
function ofEnded(pid: number): number {
  const stat = attempt(() => readFileSync(`/proc/${pid}/stat`, 'latin1')) ?? '';
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' '); // from the third on
  return (Number(fields[13] ?? 0) + Number(fields[14] ?? 0)) * MILLISECONDS_PER_TICK;
}

/** Without the tools that it runs at times. */
function processesOf(pid: number): number[] {
  const isNode = (child: number) => attempt(() => readlinkSync(`/proc/${child}/exe`)) === process.execPath;
  return [pid, ...childrenOf(pid).filter(isNode)];
}

/**
 * Its running children: processes that read files for it, for example for a snapshot, and tools. See
 * proc_tid_children(5).
 */
export function childrenOf(pid: number): number[] {
  const lists = tasksOf(pid).map((task) => attempt(() => readFileSync(`${task}/children`, 'latin1')) ?? '');
  return lists
    .flatMap((list) => list.trim().split(' '))
    .filter((child) => child !== '')
    .map(Number);
}

const tasksOf = (pid: number): string[] =>
  (attempt(() => readdirSync(`/proc/${pid}/task`)) ?? []).map((task) => `/proc/${pid}/task/${task}`);

function allocatedIn(directory: string): number {
  const names = attempt(() => readdirSync(directory, { recursive: true, encoding: 'utf8' })) ?? [];
  return names.reduce((all, name) => all + 512 * (attempt(() => statSync(join(directory, name)).blocks) ?? 0), 0);
}

const field = (file: string, name: string, missing = 0): number =>
  Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(readFileSync(file, 'latin1'))?.[1] ?? missing);

/** @returns `undefined` if it has exited or was removed during the call */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
