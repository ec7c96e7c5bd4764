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

/** Times of attempts by destination. */
export class Attempts {
  readonly #times = new Map<string, number[]>();

  /** @param at milliseconds since 1970 */
  add(destination: string, at: number): void {
    const times = this.#times.get(destination) ?? [];
    times.push(at);
    this.#times.set(destination, times);
  }

  /** The largest number within any minute, by destination. */
  mostPerMinute(): Record<string, number> {
    return Object.fromEntries([...this.#times].map(([name, times]) => [name, fullest(times).length]));
  }

  violations(): string[] {
    return [...this.#times].flatMap(([name, times]) => {
      const window = fullest(times);
      if (window.length <= MAX_PER_MINUTE) return [];
      const after = window.map((time) => `${((time - (window[0] ?? 0)) / 1_000).toFixed(2)} s`);
      return [`${window.length} attempts at ${name} within a minute: ${after.join(', ')}`];
    });
  }
}
