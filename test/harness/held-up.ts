import { readFileSync } from 'node:fs';
import { systemClock } from '../../src/core/base/clock.ts';
import { type Duration, milliseconds } from '../../src/core/base/duration.ts';

const EVERY = milliseconds(100);
/** A timer that is later than this was held up. */
const LATE = milliseconds(200);

/**
 * Starts to measure how long other processes on this machine hold up a process: its main thread waits for a CPU, or all
 * processes are stalled, which shows in the timers of this process.
 *
 * @returns a function that stops measuring and returns the time; for a process that has exited, only the time of stalls
 */
export function watchHeldUp(pid: number): () => Duration {
  const began = waitedForProcessor(pid) ?? 0;
  let stood = 0;
  let due = systemClock.monotonic() + EVERY;
  const look = () => {
    const late = systemClock.monotonic() - due;
    if (late > LATE) stood += late;
    due = milliseconds(systemClock.monotonic() + EVERY);
  };
  const watch = setInterval(look, EVERY);
  return () => {
    clearInterval(watch);
    look();
    return milliseconds(stood + (waitedForProcessor(pid) ?? began) - began);
  };
}

/** Waiting time in milliseconds since the process started; see proc_pid_schedstat(5). `undefined` if it has exited. */
function waitedForProcessor(pid: number): number | undefined {
  try {
    return Number(readFileSync(`/proc/${pid}/schedstat`, 'latin1').split(' ')[1]) / 1e6;
  } catch {
    return undefined;
  }
}
