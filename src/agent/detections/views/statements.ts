/* The commands of a script, in order. */
import type { Item, Part } from './lexer.ts';
import { MAX_COMMANDS, MAX_WORDS } from './limits.ts';
import { listOf } from './options.ts';

export type Word = readonly Part[];

export interface Redirection {
  readonly operator: string;
  readonly target: Word;
  /** The text of a here-document. */
  readonly body?: string | undefined;
}

export interface SimpleCommand {
  /** Preceding keywords: `if`, `do`. */
  readonly keywords: readonly string[];
  readonly words: readonly Word[];
  readonly redirections: readonly Redirection[];
  /** Separator before the next command: `;`, `)|`; empty for the last. */
  readonly end: string;
  /** Whether its standard input is the output of the previous command. */
  readonly isPiped: boolean;
}

/** Words that start or separate compound commands; a command may follow. */
const KEYWORDS = listOf('if then else elif while until do { ! coproc } fi done esac');

const plainText = (word: Word | undefined): string | undefined => {
  const part = word?.[0];
  return word?.length === 1 && part?.is === 'text' && !part.quoted ? part.text : undefined;
};

const MAX_PARENTHESES = 8;

/** Whether the next command reads the output of the previous one. */
export const isPipe = (end: string): boolean => (end.endsWith('|') && !end.endsWith('||')) || end.endsWith('|&');

/** Splits a script at `;`, `&`, `&&`, `||`, `|`, newlines and parentheses. */
export function commandsOf(items: readonly Item[]): SimpleCommand[] {
  const commands: (SimpleCommand & { end: string })[] = [];
  let keywords: string[] = [];
  let words: Word[] = [];
  let redirections: Redirection[] = [];
  let depth = 0;
  let isPiped = false;
  const end = (operator: string) => {
    if (words.length > 0 || redirections.length > 0 || keywords.length > 0) {
      commands.push({ keywords, words, redirections, end: operator, isPiped });
    } else {
      // After a subshell: (…) | sh
      const last = commands.at(-1);
      if (last?.end.endsWith(')') === true && last.end.length < 8) last.end += operator;
    }
    isPiped = operator === '|' || operator === '|&';
    keywords = [];
    words = [];
    redirections = [];
  };
  for (let i = 0; i < items.length && commands.length < MAX_COMMANDS; i++) {
    const item = items[i];
    if (item?.is === 'operator') {
      if (item.text === '(') depth++;
      // An unmatched closing parenthesis ends the pattern of a case.
      else if (item.text === ')' && --depth < 0) {
        depth = 0;
        words = [];
        redirections = [];
      }
      end(item.text === '(' ? '' : item.text);
      if (item.text === '(' && keywords.length < MAX_PARENTHESES) keywords.push('(');
    } else if (item?.is === 'redirection') {
      const next = items[i + 1];
      if (next?.is === 'word') i++;
      redirections.push({ operator: item.operator, target: next?.is === 'word' ? next.parts : [], body: item.body });
    } else if (item?.is === 'word') {
      const text = words.length === 0 ? plainText(item.parts) : undefined;
      // function NAME {
      if (text === 'function' && items[i + 1]?.is === 'word') {
        keywords.push(text);
        i++;
        continue;
      }
      if (text !== undefined && KEYWORDS.has(text)) keywords.push(text);
      else if (words.length < MAX_WORDS) words.push(item.parts);
    }
  }
  end('');
  return commands;
}
