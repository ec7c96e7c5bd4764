import { constants } from 'node:os';

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
