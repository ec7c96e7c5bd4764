import { fullest, MAX_PER_MINUTE } from './pace.ts';

/** One TCP connection that the agent attempted, reported by the preloaded script of this folder. */
export interface Attempt {
  readonly address: string;
  readonly port: number;
  /** Milliseconds since 1970. */
  readonly at: number;
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
