import type { Command } from './record.ts';

/** Longer records are seldom the same twice. In characters. */
export const LONGEST_KNOWN = 512;
/**
 * Where every command is another one, few enough that the oldest is garbage again before it has outlived two collections
 * of V8's young generation.
 */
const MOST_KNOWN = 64;

/**
 * What programs were started with lately, by the EXECVE record that says all of it.
 *
 * The same few programs are started again and again: whoever polls, watches or answers does it by the same words. To look
 * a record up costs less than to take it apart; and their texts are then the same in memory, and compared at once.
 */
export class RecentCommands {
  readonly #known = new Map<string, Command>();

  /** @param record of at most LONGEST_KNOWN characters */
  get(record: string): Command | undefined {
    return this.#known.get(record);
  }

  /** @param record as for `get`, and one that needs no other to say what `command` says */
  add(record: string, command: Command): void {
    if (this.#known.size >= MOST_KNOWN) this.#known.clear();
    this.#known.set(record, command);
  }
}
