import { type Duration, minutes } from '../../../src/core/base/duration.ts';

/** Connection attempts at one hub, or at one service, within any minute (contract §6). */
export const MAX_PER_MINUTE = 6;

/**
 * The attempts of the window of this length that has the most.
 *
 * @param times in milliseconds by one clock, in any order
 */
export function fullest(times: readonly number[], window: Duration = minutes(1)): readonly number[] {
  const sorted = [...times].sort((one, other) => one - other);
  let most: readonly number[] = [];
  for (const [first, began] of sorted.entries()) {
    const within = sorted.slice(first).filter((time) => time - began < window);
    if (within.length > most.length) most = within;
  }
  return most;
}
