import type { EventEmitter } from 'node:events';
import type { Clock } from '../core/base/clock.ts';
import type { Duration } from '../core/base/duration.ts';

/**
 * Waits for the first value that matches `predicate`: an existing one, or one that `source` emits as `event`.
 *
 * @throws TimeLimitError after `limit`
 */
export async function waitFor<T>(
  { source, event, existing, clock }: { source: EventEmitter; event: string; existing: Iterable<T>; clock: Clock },
  predicate: (value: T) => boolean,
  limit: Duration,
): Promise<T> {
  for (const value of existing) if (predicate(value)) return value;
  let listener: (value: T) => void = () => {};
  const found = new Promise<T>((resolve, reject) => {
    listener = (value) => {
      try {
        if (predicate(value)) resolve(value);
      } catch (error) {
        reject(error); // an exception of the predicate belongs to the waiting caller, not to the emitter
      }
    };
  });
  source.on(event, listener);
  try {
    return await clock.within(limit, `Waiting for a ${event} at the hub emulator`, found);
  } finally {
    source.off(event, listener);
  }
}
