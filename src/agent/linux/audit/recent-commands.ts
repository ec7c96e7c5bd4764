import type { Command } from './record.ts';

/** In characters. Longer records are seldom repeated. */
export const LONGEST_KNOWN = 512;
/**
 * If every command is a different one, this is few enough for the oldest entry to become garbage before it has survived two
 * collections of V8's young generation.
 */
const MAX_KNOWN = 64;

/**
 * The arguments of recently started programs, by EXECVE records that contain all of them.
 *
 * The same few commands are started again and again, for example by polling. Looking up a record costs less than parsing it;
 * equal strings are then the same object, and quick to compare.
 */
export class RecentCommands {
  readonly #known = new Map<string, Command>();

  /** @param record of at most LONGEST_KNOWN characters */
  get(record: string): Command | undefined {
    return this.#known.get(record);
  }

  /** @param record as for `get`; it must contain all arguments of `command` */
  add(record: string, command: Command): void {
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.set(record, command);
  }
}
