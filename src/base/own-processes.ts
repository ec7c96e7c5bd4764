/** Processes that the agent started and that are running, or ended a moment ago. */
const own = new Set<number>();
/** Audit may report a start up to this many starts later. */
const MOST_REMEMBERED = 256;

/** To be called with the pid of every process that the agent starts. */
export function rememberOwn(pid: number): void {
  own.delete(pid);
  own.add(pid);
  for (const oldest of own) {
    if (own.size <= MOST_REMEMBERED) return;
    own.delete(oldest);
  }
}

/**
 * Whether the agent started this process: its own activity is not reported. The parent's pid distinguishes it from an
 * unrelated process that was given the same pid later.
 */
export const isOwnProcess = (pid: number, parentPid: number): boolean => parentPid === process.pid && own.has(pid);
