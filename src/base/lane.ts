/**
 * Runs one piece of asynchronous work after the other.
 *
 * Each call on a file system that hangs blocks one of the few threads that libuv has, which DNS look-ups need, too. What
 * goes through one lane blocks one thread at most.
 */
export class Lane {
  #last: Promise<unknown> = Promise.resolve();

  /** Settles as `work` does, which begins when all earlier work has settled. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => {});
    return done;
  }

  /** Resolves when all work so far has settled. */
  async idle(): Promise<void> {
    await this.#last;
  }
}
