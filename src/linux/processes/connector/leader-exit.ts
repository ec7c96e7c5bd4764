import { readdirSync } from 'node:fs';
import type { Duration } from '../../../base/duration.ts';
import { ProcFolder } from '../../../host/proc-folder.ts';

/** What the kernel rounds a start by, and how long it can take to tell of an end. */
const ROUNDING_MS = 300;

/**
 * What is left of a process some time after its first thread, the leader of its thread group, has ended:
 *
 * - `nothing`: it has ended, waited for by its parent or not; or its pid is another one's by now
 * - `threads`: others of its threads go on; it has ended when the last of them has
 * - `process`: it goes on. Another of its threads has executed a program, which ends all others and makes it the first
 *   one, with the same pid; see execve(2)
 */
export type AfterLeaderExit = 'nothing' | 'threads' | 'process';

/** @param since how long ago at least the first thread ended */
export function afterLeaderExit(pid: number, since: Duration, proc: ProcFolder, path: string): AfterLeaderExit {
  const stat = proc.stat(pid);
  if (stat === undefined) return 'nothing';
  if (stat.isDead) return threadsOf(pid, path) > 1 ? 'threads' : 'nothing';
  const age = proc.uptime() - stat.startTicks * ProcFolder.TICK_MS;
  return age + ROUNDING_MS < since ? 'nothing' : 'process';
}

/** The first thread is among them, as long as its parent hasn't waited for the process. */
function threadsOf(pid: number, path: string): number {
  try {
    return readdirSync(`${path}/${pid}/task`).length;
  } catch {
    return 0; // ended meanwhile
  }
}
