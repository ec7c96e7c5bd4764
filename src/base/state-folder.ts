import { join } from 'node:path';
import { readFileIfThere } from './atomic-file.ts';
import type { StateFiles } from './state-files.ts';

/** In characters. What is kept here has a few hundred. */
const MAX_LENGTH = 64 * 1024;

/** Small files in the state directory that save work after a restart, and that the agent can do without. */
export class StateFolder {
  readonly #folder: string;
  readonly #files: StateFiles;

  constructor(folder: string, files: StateFiles) {
    this.#folder = folder;
    this.#files = files;
  }

  /** @returns the content, parsed as JSON; `undefined` if the file is missing, unreadable or not JSON */
  read(name: string): unknown {
    try {
      const text = readFileIfThere(join(this.#folder, name)) ?? '';
      return text.length > MAX_LENGTH ? undefined : JSON.parse(text);
    } catch {
      return undefined;
    }
  }

  /** Writes in the background, as a whole. A failure is ignored: the next start only has more to do. */
  write(name: string, value: unknown): void {
    this.#files.replace(join(this.#folder, name), JSON.stringify(value), () => {});
  }
}
