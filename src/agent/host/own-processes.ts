/** Pids of processes that the agent started, oldest first. */
const own = new Set<number>();
/** Audit reports a start later; by then the agent may have started others, but not as many as this. */
const MAX_REMEMBERED = 256;

/** Call this with the pid of every process that the agent starts. */
export function rememberOwn(pid: number): void {
  own.delete(pid);
  own.add(pid);
  for (const oldest of own) {
    if (own.size <= MAX_REMEMBERED) return;
    own.delete(oldest);
  }
}

/**
 * Whether the agent started this process: its own activity is not reported. The parent's pid distinguishes it from an
 * unrelated process that was given the same pid later.
 */
export const isOwnProcess = (pid: number, parentPid: number): boolean => parentPid === process.pid && own.has(pid);
