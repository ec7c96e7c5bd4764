import type { Clock } from '../../base/clock.ts';
import { type Duration, seconds } from '../../base/duration.ts';

/** How long the slot must have been free before it is taken again. A restart of auditd frees it for a second or two. */
const RESPITE = seconds(30);

/**
 * Remembers that another daemon had the kernel's audit slot, or wanted it, so that the agent doesn't take it in the
 * moment in which that daemon is only being restarted: it would refuse to start (EEXIST).
 */
export class SlotWatch {
  readonly #clock: Clock;
  #lastSeen: Duration | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Another daemon has the slot, or has asked for it. */
  sawAnother(): void {
    this.#lastSeen = this.#clock.monotonic();
  }

  /** Whether the slot may be taken, if it is free. */
  mayTake(): boolean {
    return this.#lastSeen === undefined || this.#clock.monotonic() - this.#lastSeen >= RESPITE;
  }
}

/** Whether a process lives. The pid of a daemon that was killed stays in audit's status until the next record. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
