import { Automaton } from './automaton.ts';
import type { Node } from './parse.ts';

/* Which automata are built, and how far they grow, is decided by whoever writes the texts; so all of them together have a
 * limit. When it is exceeded, those that were not used for long are dropped, and built again when they are needed: each gets a
 * second chance if it was used since the last one (Corbató, A paging experiment with the Multics system, 1968).
 */

/** Of all automata together, without their sets of states. Of 1,762 that are shipped, a device at work uses 450, of 3.3 MB. */
export const MAX_AUTOMATA_BYTES = 5 * 2 ** 20;

const kept = { bytes: 0, automata: new Set<KeptAutomaton>(), builds: 0 };

/** How much memory all automata take, about. */
export const automataBytes = (): number => kept.bytes;
/** How many automata were built since the process began. */
export const automataBuilt = (): number => kept.builds;

/** An automaton that is built when it is needed: most patterns of most rules never run. */
export class KeptAutomaton {
  readonly #read: () => Node;
  #built: Automaton | undefined;
  #bytes = 0;
  #isUsed = false;

  /** @param read not kept, since a node takes far more memory than the text that it is read from; has passed `checkSize` */
  constructor(read: () => Node) {
    this.#read = read;
  }

  matches(line: string, length: number): boolean {
    this.#isUsed = true;
    const automaton = this.#built ?? this.#build();
    const matched = automaton.matches(line, length);
    if (automaton.bytes !== this.#bytes) {
      this.#count(automaton.bytes);
      makeRoom();
    }
    return matched;
  }

  #build(): Automaton {
    const automaton = new Automaton(this.#read());
    this.#built = automaton;
    kept.automata.add(this);
    kept.builds += 1;
    return automaton;
  }

  /** Drops the automaton, unless it was used since this was last called. @returns whether it did */
  dropUnused(): boolean {
    const isUsed = this.#isUsed;
    this.#isUsed = false;
    if (isUsed) return false;
    this.#built?.forget();
    this.#built = undefined;
    this.#count(0);
    return true;
  }

  #count(bytes: number): void {
    kept.bytes += bytes - this.#bytes;
    this.#bytes = bytes;
  }
}

/** Drops automata until there is room; in turn, since one that is kept goes to the end. */
function makeRoom(): void {
  for (const automaton of kept.automata) {
    if (kept.bytes <= MAX_AUTOMATA_BYTES) return;
    kept.automata.delete(automaton);
    if (!automaton.dropUnused()) kept.automata.add(automaton);
  }
}
