import type { Clock } from '../../../core/base/clock.ts';
import { type Duration, seconds } from '../../../core/base/duration.ts';

/** How long the slot must have been free before the agent takes it. A restart of auditd frees it for a second or two. */
const FREE_FOR = seconds(30);

/**
 * Remembers that another daemon had or requested the audit slot, so that the agent does not take it while that daemon is
 * being restarted: auditd would then refuse to start (EEXIST).
 */
export class SlotWatch {
  readonly #clock: Clock;
  #lastSeen: Duration | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Another daemon has the slot or requested it. */
  seenOther(): void {
    this.#lastSeen = this.#clock.monotonic();
  }

  /** Whether the agent may take the slot if it is free. */
  mayTake(): boolean {
    return this.#lastSeen === undefined || this.#clock.monotonic() - this.#lastSeen >= FREE_FOR;
  }
}

/** Whether a process is alive. The pid of a killed daemon stays in audit's status until the next record. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Whether audit's status, by its pid, names a daemon that is alive and is not this process. */
export const isOtherDaemon = (pid: number): boolean => pid !== process.pid && pid !== 0 && isAlive(pid);
