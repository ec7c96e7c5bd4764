import { join } from 'node:path';
import { errnoOf, messageOf } from './errors.ts';
import { readPlainFile } from './plain-file.ts';
import type { StateFiles } from './state-files.ts';

/** What is kept here has a few hundred. */
const MAX_BYTES = 64 * 1024;

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
      return JSON.parse(readPlainFile(join(this.#folder, name), MAX_BYTES));
    } catch (error) {
      // The parser's message quotes the file.
      if (errnoOf(error) !== 'ENOENT') onUnusable(error instanceof SyntaxError ? 'it is not JSON' : messageOf(error));
      return undefined;
    }
  }

  /** Writes in the background, as a whole. A failure is ignored: the next start only has more to do. */
  write(name: string, value: unknown): void {
    this.#files.replace(join(this.#folder, name), JSON.stringify(value), () => {});
  }
}
