/** From, inclusive, and to, exclusive. */
export type Range = readonly [from: number, to: number];

/** The settled positions of a log: delivered, dropped, or burnt (see store.ts). A few ranges, in order. */
export class Positions {
  #ranges: Range[] = [];

  add(from: number, to: number): void {
    if (from >= to) return;
    const apart = this.#ranges.filter(([start, end]) => end < from || start > to);
    const touching = this.#ranges.filter(([start, end]) => end >= from && start <= to);
    const merged: Range = [
      Math.min(from, ...touching.map(([start]) => start)),
      Math.max(to, ...touching.map(([, end]) => end)),
    ];
    this.#ranges = [...apart, merged].sort(([a], [b]) => a - b);
  }

  has(position: number): boolean {
    return this.#ranges.some(([from, to]) => position >= from && position < to);
  }

  copy(): Positions {
    return Positions.from(this.#ranges);
  }

  toJSON(): readonly Range[] {
    return this.#ranges;
  }

  /** Parses the result of `toJSON`. Invalid ranges are skipped: they may come from a damaged disk. */
  static from(value: unknown): Positions {
    const positions = new Positions();
    for (const range of Array.isArray(value) ? value : []) {
      const [from, to] = Array.isArray(range) ? range : [];
      if (Number.isSafeInteger(from) && Number.isSafeInteger(to) && from >= 0) positions.add(from, to);
    }
    return positions;
  }
}
