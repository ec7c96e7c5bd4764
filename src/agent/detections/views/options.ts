/* The options of a command. */

/** Options of a program that take a value. */
export interface Valued {
  /** One-letter options. */
  readonly valued?: string;
  /** Long options whose value is a separate word, without their dashes, separated by spaces. */
  readonly long?: string;
  /** One-letter options with an optional value in the same word: `sed -i.bak`. */
  readonly optional?: string;
  /** Multi-letter options after one dash, which take no value. */
  readonly flags?: string;
}

export interface Option {
  /** With its dashes; a whole cluster if none of its options takes a value. */
  readonly name: string;
  /** The value in the word itself. */
  readonly value: string | undefined;
  /** Whether the next word is its value. */
  readonly takesNext: boolean;
}

const lists = new Map<string, ReadonlySet<string>>();
/** The words of a space-separated list; each list is split once. */
export const listOf = (text: string | undefined): ReadonlySet<string> => {
  if (text === undefined) return NONE;
  let list = lists.get(text);
  if (list === undefined) {
    list = new Set(text.split(' '));
    lists.set(text, list);
  }
  return list;
};
export const NONE: ReadonlySet<string> = new Set();

/**
 * The option in a word.
 *
 * @param more further options that take a value, with their dashes
 */
export function optionOf(word: string, program: Valued, more: ReadonlySet<string> = NONE): Option {
  const { valued = '', long, optional = '', flags } = program;
  if (word.startsWith('--')) {
    const equals = word.indexOf('=');
    const name = equals === -1 ? word : word.slice(0, equals);
    if (equals !== -1) return { name, value: word.slice(equals + 1), takesNext: false };
    return { name, value: undefined, takesNext: listOf(long).has(name.slice(2)) || more.has(name) };
  }
  if (flags !== undefined && listOf(flags).has(word)) return { name: word, value: undefined, takesNext: false };
  // A cluster: the first option with a value takes the rest of the word, or the next word.
  for (let i = 1; i < word.length; i++) {
    if (optional.includes(word[i] ?? ' ')) break;
    const name = `-${word[i]}`;
    if (!(valued.includes(word[i] ?? '') || more.has(name))) continue;
    const isLast = i === word.length - 1;
    return { name, value: isLast ? undefined : word.slice(i + 1), takesNext: isLast };
  }
  return { name: word, value: undefined, takesNext: false };
}
