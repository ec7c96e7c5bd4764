/** Calls all callbacks, even if one throws; its exception is then an uncaught one, which is logged as an internal error. */
export function callAll<T>(callbacks: readonly ((value: T) => void)[], value: T): void {
  for (const callback of callbacks) {
    try {
      callback(value);
    } catch (defect) {
      queueMicrotask(() => {
        throw defect;
      });
    }
  }
}

/** Passes a notification on to its listeners. Listeners may be added after the part that notifies was created. */
export class Notifier<T = void> {
  readonly #listeners: ((value: T) => void)[] = [];

  /** Listeners are called in the order in which they were added. */
  on(listener: (value: T) => void): void {
    this.#listeners.push(listener);
  }

  /** Bound, so that it can be passed as a callback. Does nothing without listeners. */
  readonly notify = (value: T): void => {
    for (const listener of this.#listeners) listener(value);
  };
}
