import { constants } from 'node:os';

/** How a process ended, as wait(2) would tell its parent. */
export interface WaitStatus {
  /** What it gave to exit(2), 0 to 255; 128 and the signal's number when a signal ended it, as shells say it. */
  readonly exitStatus: number;
  /** `SIGKILL`; absent when it ended by itself. */
  readonly signal?: string;
}

/** Names by number. Of two names of one signal, Node lists the usual one first: SIGABRT before SIGIOT. */
const NAMES = new Map<number, string>();
for (const [name, number] of Object.entries(constants.signals)) if (!NAMES.has(number)) NAMES.set(number, name);

/** What glibc calls SIGRTMIN: it keeps the kernel's first two real-time signals to itself. See signal(7). */
const FIRST_REAL_TIME = 34;

const nameOf = (signal: number): string =>
  NAMES.get(signal) ??
  (signal === FIRST_REAL_TIME
    ? 'SIGRTMIN'
    : signal > FIRST_REAL_TIME
      ? `SIGRTMIN+${signal - FIRST_REAL_TIME}`
      : `SIG${signal}`);

/**
 * Reads the word that the kernel keeps of a process's end: in the low seven bits the signal, above them whether it dumped
 * core, above that the status it gave itself. See WIFSIGNALED and the others in wait(2).
 */
export function readWaitStatus(word: number): WaitStatus {
  const signal = word & 0x7f;
  if (signal === 0) return { exitStatus: (word >>> 8) & 0xff };
  return { exitStatus: 128 + signal, signal: nameOf(signal) };
}
