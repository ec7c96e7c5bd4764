import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { seconds } from '../../src/core/base/duration.ts';
import { until } from './until.ts';

/** The variable that identifies the processes of a test run: the run's pid, start time and pid namespace. */
const MARK = 'TEST_RUN';
/** Time limit for a process to exit cleanly, such as an agent that releases the kernel's audit. */
const ENDS_WITHIN = seconds(10);

/** Marks the processes that this process starts from now on as its test run. */
export function markTestRun(): void {
  process.env[MARK] = `${process.pid} ${startOf(process.pid)} ${pidNamespace()}`;
}

/**
 * Ends the processes of killed test runs: a leftover agent would take the kernel's audit as soon as it is free.
 * Processes of other users, which can't be inspected or ended, are kept.
 */
export async function endLeftProcesses(): Promise<void> {
  const left = readdirSync('/proc').map(Number).filter(isLeft);
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    const alive = left.filter((pid) => isLeft(pid) && kill(pid, signal));
    const areGone = () => !alive.some(isLeft);
    await until('the processes of a killed test run to end', areGone, { limit: ENDS_WITHIN }).catch((error) => {
      if (signal === 'SIGKILL') throw error;
    });
  }
}

/**
 * Whether it is alive and the test run that started it is not. For a run in another pid namespace, such as a container's,
 * this is unknown: its pid belongs to another process there.
 */
function isLeft(pid: number): boolean {
  if (!Number.isInteger(pid) || pid === process.pid) return false;
  const environment = attempt(() => readFileSync(`/proc/${pid}/environ`, 'utf8'))?.split('\0') ?? [];
  const mark = environment.find((variable) => variable.startsWith(`${MARK}=`))?.slice(MARK.length + 1);
  const [run, start, namespace] = mark?.split(' ') ?? [];
  return namespace === pidNamespace() && start !== startOf(Number(run));
}

/**
 * Distinguishes a process from a later one with the same pid: see starttime in proc_pid_stat(5).
 *
 * @returns `undefined` for one that has ended, although its parent has not yet waited for it
 */
function startOf(pid: number): string | undefined {
  const stat = attempt(() => readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? '';
  const [state = 'Z', ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return 'ZX'.includes(state) ? undefined : fields[18];
}

/** The pid namespace of this process, as the kernel names it: see pid_namespaces(7). */
function pidNamespace(): string {
  return readlinkSync('/proc/self/ns/pid');
}

function kill(pid: number, signal: NodeJS.Signals): boolean {
  return attempt(() => process.kill(pid, signal)) ?? false;
}

function attempt<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch {
    return undefined;
  }
}
