/* Character classes, as tables: command lines are read one character at a time. */

const BLANK = 1;
const OPERATOR = 2;
const QUOTE = 4;
const NAME = 8;
const NAME_START = 16;

const kinds = new Uint8Array(128);
const mark = (characters: string, kind: number) => {
  for (const c of characters) kinds[c.charCodeAt(0)] = (kinds[c.charCodeAt(0)] ?? 0) | kind;
};
const LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_';
mark(' \t\r', BLANK);
mark('\n;|&()<>', OPERATOR);
mark('\'"\\$`{', QUOTE);
mark(LETTERS, NAME | NAME_START);
mark('0123456789', NAME);

/* Codes of special characters. */
export const DOUBLE_QUOTE = 34;
export const HASH = 35;
export const SINGLE_QUOTE = 39;
export const COMMA = 44;
export const BACKSLASH = 92;
export const OPENING_BRACE = 123;
export const CLOSING_BRACE = 125;

const kindOf = (code: number): number => (code < 128 ? (kinds[code] ?? 0) : 0);

export const isBlank = (code: number): boolean => (kindOf(code) & BLANK) !== 0;
/** A character that ends an unquoted word. */
export const isOperator = (code: number): boolean => (kindOf(code) & OPERATOR) !== 0;
/** A character with a special meaning within a word. */
export const isQuoting = (code: number): boolean => (kindOf(code) & QUOTE) !== 0;
export const isNameCharacter = (code: number): boolean => (kindOf(code) & NAME) !== 0;
export const isNameStart = (code: number): boolean => (kindOf(code) & NAME_START) !== 0;
export const isDigit = (code: number): boolean => code >= 48 && code <= 57;

export const isName = (text: string): boolean => {
  if (text === '' || !isNameStart(text.charCodeAt(0))) return false;
  for (let i = 1; i < text.length; i++) if (!isNameCharacter(text.charCodeAt(i))) return false;
  return true;
};

/** End of the name in an assignment `NAME=value` or `NAME+=value`; 0 if the word is not an assignment. */
export function assignmentName(word: string): number {
  if (!isNameStart(word.charCodeAt(0))) return 0;
  let end = 1;
  while (end < word.length && isNameCharacter(word.charCodeAt(end))) end++;
  const isAssignment = word[end] === '=' || (word[end] === '+' && word[end + 1] === '=');
  return isAssignment ? end : 0;
}

/** Whether text can be a command or a script: no control characters except whitespace, and no bytes that aren't text. */
export function isPrintable(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if ((code < 32 && code !== 9 && code !== 10 && code !== 13) || code === 127 || code === 0xfffd) return false;
  }
  return text.length > 0;
}

/** Multi-line code on one line, because `.` in rule expressions does not match a line feed. */
export function onOneLine(text: string): string {
  if (!text.includes('\n')) return text;
  return text
    .split('\n')
    .map((line) => line.trim())
    .join(' ');
}
