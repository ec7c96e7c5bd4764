import type { Settings, SettingsReader } from '../../core/contract/settings.ts';

/** The configuration in force. Only `replace` changes it. */
export class LiveSettings implements SettingsReader {
  readonly #listeners: ((before: Settings) => void)[] = [];
  #current: Settings;

  constructor(initial: Settings) {
    this.#current = Object.freeze(initial);
  }

  current(): Settings {
    return this.#current;
  }

  onChange(listener: (before: Settings) => void): void {
    this.#listeners.push(listener);
  }

  /** Puts `next` in force and calls every listener. */
  replace(next: Settings): void {
    const before = this.#current;
    this.#current = Object.freeze(next);
    for (const listener of this.#listeners) listener(before);
  }
}
