import type { Duration } from '../../../../core/base/duration.ts';
import { ProcFolder } from '../../../host/proc-folder.ts';

/** Rounding of start times by the kernel, plus the delay until it reports an exit. */
const ROUNDING_MS = 300;

/**
 * What remains of a process some time after its first thread, the leader of its thread group, ended:
 *
 * - `nothing`: the process has exited, whether or not its parent waited for it; or its pid was reused
 * - `threads`: other threads are running; the process ends with the last of them
 * - `process`: it is running. Another of its threads executed a program, which ends all others and makes it the leader, with
 *   the same pid; see execve(2)
 */
export type AfterLeaderExit = 'nothing' | 'threads' | 'process';

/**
 * Costs the same however many threads there are: any user can have thousands, and it is asked once a second.
 *
 * @param since minimum time since the first thread ended
 */
export function afterLeaderExit(pid: number, since: Duration, proc: ProcFolder): AfterLeaderExit {
  const stat = proc.statOfFirstThread(pid);
  if (stat === undefined) return 'nothing';
  if (stat.isLeaderDead) return stat.isDead ? 'nothing' : 'threads';
  const age = proc.uptime() - stat.startTicks * ProcFolder.TICK_MS;
  return age + ROUNDING_MS < since ? 'nothing' : 'process';
}
