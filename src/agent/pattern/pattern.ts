import { Automaton, checkSize } from './automaton.ts';
import { Kept, MemoryLimit } from './kept.ts';
import { neededLiterals } from './literals.ts';
import { Malformed, Parser, type Syntax } from './parse.ts';

/* Regular expressions that take linear time, whatever the pattern and the text: rules are data, and the text may be
 * hostile. JavaScript's own take exponential time for `(a+)+$` on a long line.
 *
 * A subset of JavaScript's syntax: characters, `.`, classes, `\d \w \s` and their opposites, groups, which capture
 * nothing, `|`, `* + ? {m,n}`, `^`, `$` and `\b`. No look-around and no back-references. `Syntax.wide` adds what other
 * engines write.
 */

export interface Pattern {
  /** Whether the pattern matches anywhere in the line. */
  matches(line: string): boolean;
  /**
   * Strings, folded as by `fold`, one of which is in every line that matches; `undefined` if none is known. For lines that are
   * longer than the pattern's limit, the part within it.
   */
  readonly literals: readonly string[] | undefined;
  /** To find out takes some milliseconds, far longer than to compile the pattern. */
  cost(): Cost;
}

export interface Cost {
  /** For one character of the worst text, at 1 to 2 ns each. */
  readonly operations: number;
  /** How much memory its automaton takes, about. */
  readonly bytes: number;
}

export interface PatternOptions extends Syntax {
  /**
   * The literals of a pattern that was compiled before: it is read when it first runs only. `later`: its literals are found
   * when they are first asked for. Never of a pattern that is not known to be right, and `later` only of a shipped one.
   */
  readonly known?: { readonly literals: readonly string[] | undefined } | 'later';
  /** In characters. Only the start of longer lines is matched. */
  readonly longestLine?: number;
}

/** In characters; the default of `longestLine`. */
export const LONGEST_LINE = 4_096;

/** All automata of shipped rules take 10 MB; half of that is what a flood of hostile command lines needs. */
export const shippedAutomata = new MemoryLimit(8 * 2 ** 20);
/** Apart: no text for which many shipped ones are needed makes others drop out. */
export const ownAutomata = new MemoryLimit(8 * 2 ** 20);
/** For the tables of bit-parallel searches. The tables of all shipped rules take 8 MB; such a flood needs 3. */
export const shippedTables = new MemoryLimit(4 * 2 ** 20);
export const ownTables = new MemoryLimit(2 * 2 ** 20);

/** @returns the pattern, or what is wrong with it, and where */
export function compilePattern(text: string, options: PatternOptions = {}): Pattern | { readonly problem: string } {
  const { longestLine = LONGEST_LINE, known, ...syntax } = options;
  try {
    const read = () => new Parser(text, syntax).whole();
    const node = known === undefined ? read() : undefined;
    if (node !== undefined) checkSize(node);
    // Made of the text, since a node takes far more memory.
    const [automata, tables] = known === 'later' ? [shippedAutomata, shippedTables] : [ownAutomata, ownTables];
    const make = () => new Automaton(read(), tables);
    const automaton = new Kept(automata, make);
    let found = node === undefined ? known : { literals: neededLiterals(node) };
    return {
      cost: () => {
        const made = make();
        return { operations: made.operations(), bytes: made.bytes };
      },
      matches: (line) => automaton.use((made) => made.matches(line, Math.min(line.length, longestLine))),
      get literals() {
        if (found === undefined || found === 'later') found = { literals: neededLiterals(read()) };
        return found.literals;
      },
    };
  } catch (error) {
    if (error instanceof Malformed) return { problem: error.message };
    throw error;
  }
}
