import { join } from 'node:path';
import { messageOf } from '../../core/base/errors.ts';
import { readStateJson } from './read-state.ts';
import type { StateFiles } from './state-files.ts';

/** Small files in the state directory that save work after a restart, and that the agent can do without. */
export class StateFolder {
  readonly #folder: string;
  readonly #files: StateFiles;

  constructor(folder: string, files: StateFiles) {
    this.#folder = folder;
    this.#files = files;
  }

  /**
   * @param onUnusable called with the reason if the file exists, and can't be read or is not JSON
   * @returns the content, parsed as JSON; `undefined` if the file is missing or unusable
   */
  read(name: string, onUnusable: (reason: string) => void = () => {}): unknown {
    try {
      return readStateJson(join(this.#folder, name), (value) => value);
    } catch (error) {
      onUnusable(messageOf(error));
      return undefined;
    }
  }

  /** Writes in the background, as a whole. A failure is ignored: the next start only has more to do. */
  write(name: string, value: unknown): void {
    this.#files.replace(join(this.#folder, name), JSON.stringify(value), () => {});
  }
}
