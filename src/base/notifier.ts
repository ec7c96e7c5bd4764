/** Tells whoever listens that something has happened. Whoever notifies needn't know who that is, nor be made after them. */
export class Notifier<T = void> {
  readonly #listeners: ((what: T) => void)[] = [];

  /** Listeners are called in the order in which they were added. */
  on(listener: (what: T) => void): void {
    this.#listeners.push(listener);
  }

  /** A function of its own, so that it can be handed over. Without listeners nothing happens. */
  readonly notify = (what: T): void => {
    for (const listener of this.#listeners) listener(what);
  };
}
