import type { Clock } from '../base/clock.ts';
import type { Duration } from '../base/duration.ts';

/** The time limit of a step, its clock, its name in errors, and the signal that cancels it. */
export interface Limit {
  readonly clock: Clock;
  readonly limit: Duration;
  /** For the error's message: `connecting to hub:8883`. */
  readonly label: string;
  readonly signal: AbortSignal;
}

/**
 * Runs a step within a time limit. `work` gets a signal that aborts when `signal` does, or when the limit has passed; it
 * must then release everything it owns or has opened, and reject immediately.
 *
 * @throws TimeLimitError; the reason of `signal`; errors of `work`
 */
export async function limited<T>(
  { clock, limit, label, signal }: Limit,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const step = new AbortController();
  const cancel = () => step.abort(signal.reason);
  if (signal.aborted) cancel(); // `work` is called anyway: it may own a socket, which it must close
  signal.addEventListener('abort', cancel, { once: true });
  try {
    return await clock.within(limit, label, work(step.signal));
  } catch (error) {
    step.abort(error);
    throw error;
  } finally {
    signal.removeEventListener('abort', cancel);
  }
}

/** Settles with the result of `start`, or rejects with the signal's reason. Removes its listener from the signal. */
export async function untilAborted<T>(
  signal: AbortSignal,
  start: (resolve: (value: T) => void, reject: (error: unknown) => void) => void,
): Promise<T> {
  signal.throwIfAborted();
  let cancel = () => {};
  try {
    return await new Promise<T>((resolve, reject) => {
      cancel = () => reject(signal.reason);
      signal.addEventListener('abort', cancel, { once: true });
      start(resolve, reject);
    });
  } finally {
    signal.removeEventListener('abort', cancel);
  }
}
