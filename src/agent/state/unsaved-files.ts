import { basename } from 'node:path';
import { messageOf } from '../../core/base/errors.ts';

/** Files named in the text. */
const MAX_NAMED = 8;
/** Characters of a reason. */
const LONGEST = 200;

/** The files of state whose last change is not on disk, with the reason. */
export class UnsavedFiles {
  readonly #reasons = new Map<string, string>();
  readonly #changed: () => void;

  /** @param changed called when a file is added or removed, or its reason changes */
  constructor(changed: () => void = () => {}) {
    this.#changed = changed;
  }

  /** @param error `undefined` when the file is on disk */
  report(path: string, error: unknown): void {
    const before = this.#reasons.get(path);
    // Messages of Node.js end with ", rename '/long/path' -> '/long/path'".
    const reason = error === undefined ? undefined : (messageOf(error).split(', ')[0] ?? '').slice(0, LONGEST);
    if (reason === before) return;
    if (reason === undefined) this.#reasons.delete(path);
    else this.#reasons.set(path, reason);
    this.#changed();
  }

  /** @returns `a.json (ENOSPC: no space left on device); b.json (…)`, or `undefined` if all files are saved */
  describe(): string | undefined {
    if (this.#reasons.size === 0) return undefined;
    const all = [...this.#reasons].map(([path, reason]) => `${basename(path)} (${reason})`);
    const named = all.slice(0, MAX_NAMED);
    return [...named, ...(all.length > named.length ? [`${all.length - named.length} more`] : [])].join('; ');
  }
}
