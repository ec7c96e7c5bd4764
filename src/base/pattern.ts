import { Automaton } from './pattern/automaton.ts';
import { neededLiterals } from './pattern/literals.ts';
import { Malformed, Parser, type Syntax } from './pattern/parse.ts';

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
   * Texts, folded as by `fold`, one of which is in every line that matches; `undefined` if none is known. Of lines that are
   * longer than the pattern's limit, the part within it.
   */
  readonly literals?: readonly string[];
  /**
   * Operations for one character of the worst text, at 1 to 2 ns each. To find out takes some milliseconds, far longer than to
   * compile the pattern.
   */
  cost(): number;
}

export interface PatternOptions extends Syntax {
  /** In characters. Of longer lines, only the beginning is matched. */
  readonly longestLine?: number;
}

/** In characters; the default of `longestLine`. */
export const LONGEST_LINE = 4_096;

/** @returns the pattern, or what is wrong with it, and where */
export function compilePattern(text: string, options: PatternOptions = {}): Pattern | { readonly problem: string } {
  const { longestLine = LONGEST_LINE, ...syntax } = options;
  try {
    const node = new Parser(text, syntax).whole();
    const automaton = new Automaton(node);
    const literals = neededLiterals(node);
    return {
      cost: () => automaton.cost(),
      matches: (line) => automaton.matches(line, Math.min(line.length, longestLine)),
      ...(literals === undefined ? {} : { literals }),
    };
  } catch (error) {
    if (error instanceof Malformed) return { problem: error.message };
    throw error;
  }
}
