import { constants } from 'node:os';
import type { Duration } from '../../../../core/base/duration.ts';
import { ProcFolder } from '../../../host/proc-folder.ts';

/** How a process ended, as wait(2) reports it. */
export interface WaitStatus {
  /** Its exit status, 0 to 255; 128 plus the signal's number when a signal ended it, as in shells. */
  readonly exitStatus: number;
  /** `SIGKILL`; absent when the process exited by itself. */
  readonly signal?: string;
}

/** Names by number. If a signal has two names, Node lists the usual one first: SIGABRT before SIGIOT. */
const NAMES = new Map<number, string>();
for (const [name, number] of Object.entries(constants.signals)) if (!NAMES.has(number)) NAMES.set(number, name);

/** glibc's SIGRTMIN: it reserves the kernel's first two real-time signals. See signal(7). */
const FIRST_REAL_TIME = 34;

const nameOf = (signal: number): string =>
  NAMES.get(signal) ??
  (signal === FIRST_REAL_TIME
    ? 'SIGRTMIN'
    : signal > FIRST_REAL_TIME
      ? `SIGRTMIN+${signal - FIRST_REAL_TIME}`
      : `SIG${signal}`);

/**
 * Decodes the kernel's wait status: the signal in the low seven bits, then the core dump flag, then the exit status. See
 * WIFSIGNALED and others in wait(2).
 */
export function readWaitStatus(word: number): WaitStatus {
  const signal = word & 0x7f;
  if (signal === 0) return { exitStatus: (word >>> 8) & 0xff };
  return { exitStatus: 128 + signal, signal: nameOf(signal) };
}

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
