/* Expansion of a word in a script: removes quotes, inserts the values of variables, expands brace lists. */
import { isNameCharacter } from './characters.ts';
import type { Environment } from './environment.ts';
import type { Part } from './lexer.ts';
import type { Work } from './limits.ts';
import { listOf } from './options.ts';

/** Variables that are set in most environments; others are empty unless the script sets them. */
const INHERITED = listOf(
  'HOME PATH USER LOGNAME SHELL PWD OLDPWD HOSTNAME TMPDIR LANG TERM UID EUID PPID RANDOM SECONDS HISTFILE ' +
    'SSH_CONNECTION SUDO_USER REPLY LINENO BASH MACHTYPE ? $ ! # - 0',
);

/** Variables with a known beginning, so that `${PATH:0:1}` is a slash. */
const BEGIN_WITH_SLASH = listOf('PATH HOME PWD OLDPWD SHELL BASH TMPDIR MAIL');

const MAX_FIELDS = 128;
/** Minimum cost of an item in a brace list, in characters read. */
const ITEM = 16;
const LONGEST_FIELD = 8_192;

export interface ExpansionParts {
  readonly environment: Environment;
  /** The output of `$(…)`, if it can be determined. */
  readonly outputOf: (script: string) => string | undefined;
  readonly work: Work;
}

class Fields {
  readonly done: string[] = [];
  #current = '';
  #isBegun = false;

  add(text: string): void {
    if (this.#current.length + text.length <= LONGEST_FIELD) this.#current += text;
    this.#isBegun = true;
  }

  end(): void {
    if (this.#isBegun && this.done.length < MAX_FIELDS) this.done.push(this.#current);
    this.#current = '';
    this.#isBegun = false;
  }

  /** Unquoted text of a variable: separators in it, `$IFS`, end fields. */
  split(text: string, separators = ' \n\t'): void {
    let from = 0;
    for (let at = 0; at <= text.length; at++) {
      const isEnd = at === text.length;
      const isBlank = !isEnd && separators.includes(text[at] ?? '');
      if (!isEnd && !isBlank) continue;
      if (at > from) this.add(text.slice(from, at));
      if (isBlank) this.end();
      from = at + 1;
    }
  }
}

/** The fields of a word: none if it is empty, several with brace lists or unquoted spaces. */
export function expandWord(parts: readonly Part[], isCommand: boolean, known: ExpansionParts): string[] {
  const [only] = parts;
  if (parts.length === 1 && only?.is === 'text') return [only.text];
  const at = parts.findIndex(({ is }) => is === 'choice');
  const choice = parts[at];
  if (choice?.is === 'choice') {
    const all: string[] = [];
    const length = parts.reduce((sum, part) => sum + (part.is === 'text' ? part.text.length : 1), 0);
    for (const option of choice.of) {
      if (all.length >= MAX_FIELDS || !known.work.spend(Math.max(length, ITEM))) break;
      all.push(...expandWord([...parts.slice(0, at), ...option, ...parts.slice(at + 1)], isCommand, known));
    }
    return all;
  }
  const fields = new Fields();
  parts.forEach((part, i) => {
    if (part.is === 'text') fields.add(part.text);
    else if (part.is === 'parameter') addParameter(part, { fields, parts, i, isCommand, known });
    else if (part.is === 'script') {
      const output = known.outputOf(part.text);
      const isFile = part.raw.startsWith('<(') || part.raw.startsWith('>(');
      if (isFile && output !== undefined) known.environment.write(part.raw, output);
      if (output === undefined || isFile) fields.add(part.raw);
      else if (part.quoted) fields.add(trimNewlines(output));
      else fields.split(trimNewlines(output), known.environment.value('IFS'));
    }
  });
  fields.end();
  return fields.done;
}

const trimNewlines = (text: string): string => {
  let end = text.length;
  while (end > 0 && text[end - 1] === '\n') end--;
  return text.slice(0, end);
};

interface Place {
  readonly fields: Fields;
  readonly parts: readonly Part[];
  readonly i: number;
  readonly isCommand: boolean;
  readonly known: ExpansionParts;
}

function addParameter(part: Extract<Part, { is: 'parameter' }>, { fields, parts, i, isCommand, known }: Place): void {
  const { name, rest, raw, quoted } = part;
  if (name === 'IFS' && known.environment.value(name) === undefined) {
    if (quoted) fields.add(' ');
    else fields.end();
    return;
  }
  // A word that is the variable of a loop stands for all items; as part of a word, for the first.
  const all = rest === '' && parts.length === 1 ? known.environment.each(name) : undefined;
  const value = all ?? parameterValue(name, rest, known.environment);
  if (value === undefined) {
    if (!isEmptyHere(part, parts, i, isCommand)) fields.add(raw);
  } else if (!known.work.spend(value.length)) fields.add(raw);
  else if (quoted && name !== '@') fields.add(value);
  else fields.split(value, known.environment.value('IFS'));
}

/**
 * Whether an unknown variable can be treated as an empty one that only splits a word: `wh${x}oami`. If it is a whole word or the
 * end of a path, it is more likely a value from elsewhere: `rm -rf /srv/$old`.
 */
function isEmptyHere(part: Extract<Part, { is: 'parameter' }>, parts: readonly Part[], i: number, isCommand: boolean) {
  const { name, rest } = part;
  if ((name === '@' || name === '*') && rest === '') return true;
  if (INHERITED.has(name) || rest.startsWith('[')) return false;
  const before = parts[i - 1];
  const after = parts[i + 1];
  // $IFS$9: the second separates the name of the first from the following text.
  if (before?.is === 'parameter' && before.name === 'IFS' && name >= '1' && name <= '9' && name.length === 1)
    return true;
  const isAfterLetter = before?.is === 'text' && isNameCharacter(before.text.charCodeAt(before.text.length - 1));
  const isBeforeLetter = after?.is === 'text' && isNameCharacter(after.text.charCodeAt(0));
  const isBeforeSlash = after?.is === 'text' && after.text.startsWith('/');
  if (isAfterLetter && (isBeforeLetter || isBeforeSlash)) return true;
  return isCommand && (isAfterLetter || isBeforeLetter);
}

/** The value of `${name…}`; undefined if unknown. */
function parameterValue(name: string, rest: string, environment: Environment): string | undefined {
  if (name.startsWith('!')) {
    const target = environment.value(name.slice(1));
    return target === undefined ? undefined : environment.value(target);
  }
  const value = environment.value(name);
  if (rest === '') return value;
  if (value === undefined) {
    if (rest === ':0:1' && BEGIN_WITH_SLASH.has(name)) return '/';
    // ${x:-default}
    if (INHERITED.has(name)) return undefined;
    if (rest.startsWith(':-') || rest.startsWith(':=')) return rest.slice(2);
    if (rest.startsWith('-') || rest.startsWith('=')) return rest.slice(1);
    return undefined;
  }
  if (rest === '^^') return value.toUpperCase();
  if (rest === ',,') return value.toLowerCase();
  if (rest.startsWith(':')) return partOf(value, rest.slice(1));
  if (rest.startsWith('/')) return replaced(value, rest);
  return undefined;
}

/** `${x:1:3}`, `${x:-default}` */
function partOf(value: string, range: string): string | undefined {
  if (range.startsWith('-') || range.startsWith('=')) return value;
  const [from = '', length] = range.split(':', 2);
  const begin = Number(from.trim());
  if (!Number.isInteger(begin)) return undefined;
  const start = begin < 0 ? Math.max(value.length + begin, 0) : begin;
  if (length === undefined) return value.slice(start);
  const count = Number(length.trim());
  if (!Number.isInteger(count)) return undefined;
  return count < 0 ? value.slice(start, count) : value.slice(start, start + count);
}

/** `${x/a/b}`, `${x//a}`, with literal strings. */
function replaced(value: string, rest: string): string | undefined {
  const isAll = rest.startsWith('//');
  const body = rest.slice(isAll ? 2 : 1);
  const slash = body.indexOf('/');
  const search = slash === -1 ? body : body.slice(0, slash);
  const by = slash === -1 ? '' : body.slice(slash + 1);
  const isPlain = search !== '' && !['*', '?', '[', '\\', '$', '#', '%'].some((c) => search.includes(c));
  if (!isPlain) return undefined;
  const pieces = value.split(search);
  if (value.length + pieces.length * by.length > LONGEST_FIELD) return undefined;
  return isAll ? pieces.join(by) : value.replace(search, () => by);
}
