import { readdirSync } from 'node:fs';
import type { Duration } from '../../../base/duration.ts';
import { ProcFolder } from '../../../host/proc-folder.ts';

/** Rounding of start times by the kernel, plus the delay until it reports an exit. */
const ROUNDING_MS = 300;

/**
 * What remains of a process some time after its first thread, the leader of its thread group, ended:
 *
 * - `nothing`: the process has ended, whether or not its parent waited for it; or its pid was reused
 * - `threads`: other threads are running; the process ends with the last of them
 * - `process`: it is running. Another of its threads executed a program, which ends all others and makes it the leader, with
 *   the same pid; see execve(2)
 */
export type AfterLeaderExit = 'nothing' | 'threads' | 'process';

/** @param since minimum time since the first thread ended */
export function afterLeaderExit(pid: number, since: Duration, proc: ProcFolder, path: string): AfterLeaderExit {
  const stat = proc.stat(pid);
  if (stat === undefined) return 'nothing';
  if (stat.isDead) return threadsOf(pid, path) > 1 ? 'threads' : 'nothing';
  const age = proc.uptime() - stat.startTicks * ProcFolder.TICK_MS;
  return age + ROUNDING_MS < since ? 'nothing' : 'process';
}

/** The first thread is included until the parent has waited for the process. */
function threadsOf(pid: number, path: string): number {
  try {
    return readdirSync(`${path}/${pid}/task`).length;
  } catch {
    return 0; // ended meanwhile
  }
}
