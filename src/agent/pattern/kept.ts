/* What patterns are compiled to is made when it is needed: most patterns of most rules never run. Which ones do, and how far
 * they grow, depends on strings that an attacker may write, so all of one kind share a limit. Above it, some are dropped, and
 * rebuilt when they are needed. They are chosen at random: if all are needed in turn, most are still kept even if
 * not all of them fit. If those went that were not used for longest, none would be.
 */

export interface Droppable {
  /** How much memory it takes, about. */
  readonly bytes: number;
  /** Gives back what it refers to elsewhere. */
  drop?(): void;
}

/** Limits the memory for what is kept of one kind. */
export class MemoryLimit {
  readonly maxBytes: number;
  readonly #kept: Kept<Droppable>[] = [];
  #bytes = 0;
  /** Objects evicted for others since everything was last dropped. */
  #pushedOut = new WeakSet<Kept<Droppable>>();
  #remade = 0;

  /** @param maxBytes one thing that is larger is kept until another is used */
  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  /** How much memory is taken, about. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Bytes rebuilt after an eviction for others, since the process started. */
  get remade(): number {
    return this.#remade;
  }

  add(kept: Kept<Droppable>, bytes: number): void {
    this.#kept.push(kept);
    if (this.#pushedOut.has(kept)) this.#remade += bytes;
  }

  /** Notes that one takes more memory, and drops others until all are within the limit. */
  grow(kept: Kept<Droppable>, bytes: number): void {
    this.#bytes += bytes;
    while (this.#bytes > this.maxBytes && this.#kept.length > 1) {
      const one = this.#kept[Math.floor(Math.random() * this.#kept.length)] as Kept<Droppable>;
      if (one === kept) continue;
      this.#pushedOut.add(one);
      one.drop();
    }
  }

  /** Drops all, as if nothing had been made. */
  empty(): void {
    while (this.#kept.length > 0) this.#kept.at(-1)?.drop();
    this.#pushedOut = new WeakSet();
  }

  remove(kept: Kept<Droppable>, bytes: number): void {
    const last = this.#kept.pop() as Kept<Droppable>;
    if (last !== kept) this.#kept[this.#kept.indexOf(kept)] = last;
    this.#bytes -= bytes;
  }
}

/** Something that is made when it is needed, and kept within the limit. */
export class Kept<T extends Droppable> {
  readonly #limit: MemoryLimit;
  readonly #make: () => T;
  #value: T | undefined;
  #bytes = 0;

  constructor(limit: MemoryLimit, make: () => T) {
    this.#limit = limit;
    this.#make = make;
  }

  /** Does something with it, by which it may grow. */
  use<Result>(work: (value: T) => Result): Result {
    const value = this.#value ?? this.#made();
    const result = work(value);
    const more = value.bytes - this.#bytes;
    this.#bytes += more;
    if (more > 0) this.#limit.grow(this, more);
    return result;
  }

  #made(): T {
    const value = this.#make();
    this.#value = value;
    this.#limit.add(this, value.bytes);
    return value;
  }

  drop(): void {
    if (this.#value === undefined) return;
    this.#value.drop?.();
    this.#value = undefined;
    this.#limit.remove(this, this.#bytes);
    this.#bytes = 0;
  }
}
