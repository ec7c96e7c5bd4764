/* Output of programs that only transform text: `echo … | base64 -d`, `printf '\x77…'`, `rev <<< …`. */
import { isPrintable } from './characters.ts';
import { decodeEscapes } from './escapes.ts';
import { nameOf } from './paths.ts';

export interface Output {
  readonly text: string;
  /** Whether the text was encoded. Text that anyone may read is rarely encoded by hand, so this is suspicious. */
  readonly isDecoded: boolean;
}

type Program = (words: readonly string[], input: Output | undefined) => Output | undefined;

const LONGEST_TEXT = 16_384;

/** Programs whose output follows from their arguments and their input. */
const PROGRAMS: Readonly<Record<string, Program>> = {
  echo,
  printf,
  cat: (_words, input) => input,
  tee: (_words, input) => input,
  base64: (words, input) => (hasOption(words, 'dD', '--decode') ? decoded(input, decodeBase64) : undefined),
  base32: (words, input) => (hasOption(words, 'dD', '--decode') ? decoded(input, decodeBase32) : undefined),
  openssl: (words, input) =>
    words.includes('-d') && (words.includes('base64') || words.includes('-base64') || words.includes('-a'))
      ? decoded(input, decodeBase64)
      : undefined,
  xxd: (words, input) => (hasOption(words, 'r') && hasOption(words, 'p') ? decoded(input, decodeHex) : undefined),
  rev: (_words, input) => decoded(input, reverseLines),
  tac: (_words, input) => decoded(input, (text) => `${text.trimEnd().split('\n').reverse().join('\n')}\n`),
  tr: translate,
  sed: substitute,
  head: characters,
  cut: characters,
  ':': () => ({ text: '', isDecoded: false }),
  true: () => ({ text: '', isDecoded: false }),
  which: (words) => named(words.slice(1).find((word) => !word.startsWith('-'))),
  command: (words) => (words[1] === '-v' ? named(words[2]) : undefined),
  type: (words) => (words[1] === '-p' || words[1] === '-P' ? named(words[2]) : undefined),
};

/** Programs that search for a program print its path. */
const named = (name: string | undefined): Output | undefined =>
  name === undefined ? undefined : { text: name, isDecoded: false };

/** `sed 's/X//g'` with literal strings, which hides a word by inserting text between its letters. */
function substitute(words: readonly string[], input: Output | undefined): Output | undefined {
  const script = words[1] === '-e' ? words[2] : words[1];
  if (input === undefined || script?.[0] !== 's') return undefined;
  const [, from = '', to = '', flags = ''] = script.split(script[1] ?? '/');
  if (from === '' || ['*', '[', '\\', '^', '$', '('].some((c) => from.includes(c))) return undefined;
  const pieces = input.text.split(from);
  if (input.text.length + pieces.length * to.length > LONGEST_TEXT) return undefined;
  const text = flags.includes('g') ? pieces.join(to) : input.text.replace(from, () => to);
  return { text, isDecoded: true };
}

/** `head -c4`, `cut -c2-4`, `cut -c2-`. Without `-c`, `head` is assumed to print all. */
function characters(words: readonly string[], input: Output | undefined): Output | undefined {
  if (input === undefined) return undefined;
  const option = words.find((word) => word.startsWith('-c'));
  const range = option === '-c' ? words[words.indexOf('-c') + 1] : option?.slice(2);
  if (range === undefined) return words.length === 1 ? input : undefined;
  const first = nameOf(words[0] ?? '') === 'head' ? '1' : range;
  const [from = '', to = from] = range.includes('-') ? range.split('-') : [first, range];
  const [begin, end] = [Number(from || '1'), Number(to || input.text.length)];
  if (!Number.isInteger(begin) || !Number.isInteger(end)) return undefined;
  return { text: input.text.slice(Math.max(begin - 1, 0), end), isDecoded: true };
}

/** The output of a program, if it can be determined. */
export function outputOf(words: readonly string[], input: Output | undefined): Output | undefined {
  const name = nameOf(words[0] ?? '');
  const program = Object.hasOwn(PROGRAMS, name) ? PROGRAMS[name] : undefined;
  const output = program?.(words, input);
  return output === undefined || output.text.length > LONGEST_TEXT ? undefined : output;
}

const decoded = (input: Output | undefined, decode: (text: string) => string | undefined): Output | undefined => {
  const text = input === undefined ? undefined : decode(input.text);
  return text === undefined ? undefined : { text, isDecoded: true };
};

/** Whether `-d`, `-rd` or the long option is among the words. */
const hasOption = (words: readonly string[], letters: string, long?: string): boolean =>
  words.some(
    (word) =>
      word === long ||
      (word.startsWith('-') && !word.startsWith('--') && [...letters].some((letter) => word.includes(letter))),
  );

function echo(words: readonly string[]): Output {
  let at = 1;
  while (isEchoOption(words[at])) at++;
  const options = words.slice(1, at).join('');
  const text = words.slice(at).join(' ');
  // dash interprets escapes without -e, too.
  const plain = text.includes('\\') ? decodeEscapes(text) : text;
  return { text: options.includes('n') ? plain : `${plain}\n`, isDecoded: hidesCharacters(text) };
}

/** Whether characters are written as numbers; `\n` and `\t` hide nothing. */
const hidesCharacters = (text: string): boolean => ['\\x', '\\0', '\\1', '\\u'].some((hidden) => text.includes(hidden));

const isEchoOption = (word: string | undefined): boolean =>
  word === '-n' || word === '-e' || word === '-ne' || word === '-en' || word === '-E';

function printf(words: readonly string[]): Output | undefined {
  let at = words[1] === '--' ? 2 : 1;
  if (words[at] === '-v') return undefined;
  const format = words[at++] ?? '';
  const pieces = decodeEscapes(format).split('%');
  const render = (): string => {
    let text = pieces[0] ?? '';
    for (let i = 1; i < pieces.length; i++) {
      const piece = pieces[i] ?? '';
      if (piece === '' && i + 1 < pieces.length) {
        // %% is a percent sign.
        text += `%${pieces[++i] ?? ''}`;
      } else {
        const argument = words[at++] ?? '';
        text += (piece[0] === 'b' ? decodeEscapes(argument) : argument) + piece.slice(1);
      }
    }
    return text;
  };
  let text = render();
  // The format is reused while there are arguments.
  while (pieces.length > 1 && at < words.length && text.length < LONGEST_TEXT) {
    const before = at;
    text += render();
    if (at === before) break;
  }
  return { text, isDecoded: hidesCharacters(words.join(' ')) };
}

const reverseLines = (text: string): string =>
  text
    .split('\n')
    .map((line) => [...line].reverse().join(''))
    .join('\n');

/** `tr A-Za-z N-ZA-Mn-za-m` and `tr -d x` */
function translate(words: readonly string[], input: Output | undefined): Output | undefined {
  if (input === undefined) return undefined;
  if (words[1] === '-d') {
    const removed = new Set(characterSet(words[2] ?? ''));
    return { text: [...input.text].filter((c) => !removed.has(c)).join(''), isDecoded: true };
  }
  const from = characterSet(words[1] ?? '');
  const to = characterSet(words[2] ?? '');
  if (from.length === 0 || to.length === 0 || words[1]?.startsWith('-') === true) return undefined;
  const map = new Map(from.map((c, i) => [c, to[Math.min(i, to.length - 1)] ?? c]));
  return { text: [...input.text].map((c) => map.get(c) ?? c).join(''), isDecoded: true };
}

const CLASSES: Readonly<Record<string, string>> = {
  '[:upper:]': 'A-Z',
  '[:lower:]': 'a-z',
  '[:space:]': ' \n\t',
  '[:digit:]': '0-9',
};

function characterSet(text: string): string[] {
  const plain = decodeEscapes(Object.hasOwn(CLASSES, text) ? (CLASSES[text] ?? text) : text);
  const set: string[] = [];
  for (let i = 0; i < plain.length && set.length < 1_024; i++) {
    const from = plain.charCodeAt(i);
    const to = plain[i + 1] === '-' && i + 2 < plain.length ? plain.charCodeAt(i + 2) : from;
    for (let code = from; code <= to && set.length < 1_024; code++) set.push(String.fromCharCode(code));
    if (to !== from) i += 2;
  }
  return set;
}

/** @returns undefined if it is not base64, or not text */
export function decodeBase64(text: string): string | undefined {
  const compact = withoutBlanks(text).replaceAll('-', '+').replaceAll('_', '/');
  if (compact.length < 4 || compact.length > LONGEST_TEXT * 2) return undefined;
  for (let i = 0; i < compact.length; i++) if (!isBase64(compact.charCodeAt(i))) return undefined;
  const plain = Buffer.from(compact, 'base64').toString('utf8');
  if (isPrintable(plain)) return plain;
  const wide = Buffer.from(compact, 'base64').toString('utf16le');
  return isPrintable(wide) && wide.charCodeAt(0) < 128 ? wide : undefined;
}

const isBase64 = (code: number): boolean =>
  (code >= 65 && code <= 90) || (code >= 97 && code <= 122) || (code >= 47 && code <= 57) || code === 43 || code === 61;

const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

function decodeBase32(text: string): string | undefined {
  const bytes: number[] = [];
  let bits = 0;
  let value = 0;
  for (const c of withoutBlanks(text)) {
    if (c === '=') break;
    const digit = BASE32.indexOf(c.toUpperCase());
    if (digit === -1) return undefined;
    value = ((value << 5) | digit) & 0xfff;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes.push((value >> bits) & 0xff);
    }
  }
  return textOf(Buffer.from(bytes));
}

/** Hexadecimal digits, with `\x` or `0x` before them or without. */
export function decodeHex(text: string): string | undefined {
  const compact = withoutBlanks(text).replaceAll('\\x', '').replaceAll('0x', '').replaceAll(':', '');
  if (compact.length < 4 || compact.length % 2 !== 0) return undefined;
  for (const c of compact) if (Number.isNaN(Number.parseInt(c, 16))) return undefined;
  return textOf(Buffer.from(compact, 'hex'));
}

const textOf = (bytes: Buffer): string | undefined => {
  const text = bytes.toString('utf8');
  return isPrintable(text) ? text : undefined;
};

const withoutBlanks = (text: string): string =>
  text.replaceAll(' ', '').replaceAll('\n', '').replaceAll('\t', '').replaceAll('\r', '');
