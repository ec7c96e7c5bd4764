/* Interpreters, and the position of the script, the code or the file in their arguments. */
import { listOf } from './options.ts';
import { nameOf } from './paths.ts';

interface Interpreter {
  readonly language: 'shell' | 'code';
  /** Options whose value is executed. */
  readonly runs: string;
  /** Further one-letter options that take a value. */
  readonly valued?: string;
  /** Long options that take the next word. */
  readonly long?: readonly string[];
}

const SHELL: Interpreter = { language: 'shell', runs: 'c', valued: 'oO', long: ['--rcfile', '--init-file'] };
const code = (runs: string, valued = '', long: readonly string[] = []): Interpreter => ({
  language: 'code',
  runs,
  valued,
  long,
});

const SHELL_NAMES = listOf('sh bash dash ash zsh ksh mksh lksh ksh93 rbash hush fish csh tcsh yash posh rc pwsh');

const INTERPRETERS: Readonly<Record<string, Interpreter>> = {
  ...Object.fromEntries([...SHELL_NAMES].map((name) => [name, SHELL])),
  python: code('c', 'WXmQ'),
  pypy: code('c', 'WXm'),
  perl: code('eE', 'IMmFlx0CiDdV'),
  ruby: code('e', 'IrEKT'),
  php: code('rBRE', 'cdzt'),
  lua: code('e', 'l'),
  luajit: code('e', 'lj'),
  node: code('ep', 'r', ['--require', '--eval', '--print', '--import']),
  nodejs: code('ep', 'r', ['--require', '--eval', '--print', '--import']),
  bun: code('e'),
  deno: code(''),
  tclsh: code(''),
  expect: code('c', 'f'),
  guile: code('c'),
  Rscript: code('e'),
  osascript: code('e'),
  micropython: code('c', 'Xm'),
  mongo: code('', '', ['--eval']),
};

/** The name without a version suffix: `python` from `python3.13`. */
function withoutVersion(name: string): string {
  let end = name.length;
  while (end > 0 && ((name[end - 1] ?? '') === '.' || ((name[end - 1] ?? '') >= '0' && (name[end - 1] ?? '') <= '9'))) {
    end--;
  }
  return name.slice(0, end);
}

export function interpreterOf(word: string): Interpreter | undefined {
  const name = nameOf(word.startsWith('-') ? word.slice(1) : word);
  if (Object.hasOwn(INTERPRETERS, name)) return INTERPRETERS[name];
  const bare = withoutVersion(name);
  return bare !== name && Object.hasOwn(INTERPRETERS, bare) ? INTERPRETERS[bare] : undefined;
}

export type Run =
  /** The word that contains the script, and the offset in the word. */
  | { readonly is: 'text'; readonly at: number; readonly offset: number }
  | { readonly is: 'file'; readonly at: number }
  /** It reads its script from standard input. */
  | { readonly is: 'input' };

/** What an interpreter executes. `from` is the index of the interpreter's word. */
export function runOf(
  { language, runs, valued = '', long = [] }: Interpreter,
  words: readonly string[],
  from: number,
): Run {
  let isText = false;
  for (let at = from + 1; at < words.length; at++) {
    const word = words[at] ?? '';
    if (word === '') continue;
    const isOption = word.length > 1 && (word[0] === '-' || (language === 'shell' && word[0] === '+'));
    if (!isOption || word === '--') {
      if (word === '-') return { is: 'input' };
      const operand = word === '--' ? at + 1 : at;
      if (operand >= words.length) return { is: 'input' };
      return isText ? { is: 'text', at: operand, offset: 0 } : { is: 'file', at: operand };
    }
    if (word.startsWith('--')) {
      if (word === '--eval' || word === '--print' || word === '--command') isText = true;
      else if (word.startsWith('--eval=')) return { is: 'text', at, offset: '--eval='.length };
      else if (long.includes(word)) at++;
      continue;
    }
    for (let i = 1; i < word.length; i++) {
      const letter = word[i] ?? '';
      if (word[0] === '-' && runs.includes(letter)) {
        isText = true;
        // perl -e'…' has the code in the same word; a shell's -c can be in a cluster: -lc, -ce.
        if (language === 'code' && i < word.length - 1) return { is: 'text', at, offset: i + 1 };
      } else if (valued.includes(letter)) {
        if (language === 'code' && letter === 'm' && word[0] === '-') return { is: 'file', at: words.length };
        if (i === word.length - 1 && !'lxi0FCDdV'.includes(letter)) at++;
        if (language === 'code') break;
      }
    }
    if (isText && language === 'code' && at + 1 < words.length) return { is: 'text', at: at + 1, offset: 0 };
  }
  return { is: 'input' };
}
