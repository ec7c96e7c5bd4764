import { readFileSync } from 'node:fs';
import { isPlainObject } from '../../src/core/base/values.ts';

/* Finds phrases that no native engineer would write. The patterns are data, in patterns.json. */

type Kind = 'markdown' | 'comment' | 'title' | 'message' | 'name';

interface Pattern {
  readonly id: string;
  readonly kinds: readonly string[];
  readonly regex: RegExp;
  /** Tried on the text around a match, which then counts as correct. */
  readonly unless: RegExp | undefined;
  readonly instead: string;
}

export interface Finding {
  readonly path: string;
  readonly line: number;
  readonly phrase: string;
  readonly id: string;
  readonly instead: string;
}

/** Stands for characters that are not part of the text: code between two comments, a link's address. */
const HIDDEN = '\x01';
const VISIBLE = new RegExp(`[^${HIDDEN}]+`, 'g');
const AROUND = 60;
const hide = (text: string): string => text.replace(/[^\n]/g, HIDDEN);
/** Code in backticks becomes backticks, so that it is neither a word nor the end of a sentence. */
const hideCode = (text: string): string => text.replace(/`[^`\n]+`/g, (code) => '`'.repeat(code.length));

export const PATTERNS: readonly Pattern[] = (
  JSON.parse(readFileSync('test/wording/patterns.json', 'utf8')) as unknown[]
).map((row) => {
  if (!isPlainObject(row)) throw new TypeError('A pattern is not an object.');
  const { id, in: kinds, pattern, ignoreCase, unless, instead } = row;
  return {
    id: String(id),
    kinds: kinds as string[],
    regex: new RegExp(String(pattern), ignoreCase === true ? 'gi' : 'g'),
    unless: unless === undefined ? undefined : new RegExp(String(unless), 'i'),
    instead: String(instead),
  };
});

const OF_NAMES = PATTERNS.filter(({ kinds }) => kinds.includes('name'));

/** Comments, strings, templates up to a hole, regular expressions; a group for each. */
const TOKENS =
  /(\/\*[\s\S]*?\*\/|\/\/[^\n]*)|('(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|\$(?!\{)|[^`\\$])*(?:`|\$\{))|((?<=[([{,;=:?!&|+>]\s?|^\s{0,40}|\breturn )\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\/)/gm;
const TITLE = /\b(?:describe|it)\(\s*$/;
/** Declared names: of constants, functions, classes, types, parameters and members. */
const DECLARED =
  /\b(?:const|let|function\*?|class|interface|type)\s+(#?[A-Za-z_$][\w$]*)|(?:[\n({,;])\s*(?:(?:readonly|async|static|private|get|set|override)\s+)*(#?[A-Za-z_$][\w$]*)\??\s*(?=[:=(](?!=))/g;

const isProse = (text: string): boolean => text.trim().split(/\s+/).length >= 3 && /[a-z]{2}/.test(text);

/** A part of a file in one kind of text, as long as the file, with everything else hidden. */
type Layers = Readonly<Record<Kind, string>>;

function layersOf(path: string, source: string): Layers {
  const none = hide(source);
  if (path.endsWith('.md')) {
    const text = source
      .replace(/^[ \t]*(```|~~~)[\s\S]*?^[ \t]*\1/gm, hide)
      .replace(/<!--[\s\S]*?-->/g, hide)
      .replace(/\]\([^)\n]*\)|https?:\/\/\S+/g, hide);
    return { markdown: hideCode(text), comment: none, title: none, message: none, name: none };
  }
  const parts: Record<Exclude<Kind, 'markdown'>, string[]> = { comment: [], title: [], message: [], name: [] };
  let at = 0;
  const add = (kind: keyof typeof parts | undefined, text: string) => {
    const hidden = hide(text);
    for (const [name, part] of Object.entries(parts)) part.push(name === kind ? text : hidden);
    at += text.length;
  };
  for (const match of source.matchAll(TOKENS)) {
    const [token, comment, string] = match;
    if (match.index < at) continue;
    add('name', source.slice(at, match.index));
    if (comment !== undefined) add('comment', asSpaces(comment));
    else if (string === undefined) add(undefined, token);
    else if (TITLE.test(source.slice(Math.max(0, match.index - 20), match.index)))
      add('title', hideCode(withoutQuotes(string)));
    else add(!path.startsWith('test/') && isProse(string) ? 'message' : undefined, hideCode(withoutQuotes(string)));
  }
  add('name', source.slice(at));
  const layer = (kind: keyof typeof parts) => parts[kind].join('');
  return {
    comment: hideCode(layer('comment')),
    title: layer('title'),
    message: layer('message'),
    name: layer('name'),
    markdown: none,
  };
}

/** Marks of a comment become spaces. */
const asSpaces = (comment: string): string =>
  comment.replace(/^\/\*+|\*\/$|^\/\//g, (mark) => ' '.repeat(mark.length)).replace(/^([ \t]*)\*/gm, '$1 ');
const withoutQuotes = (string: string): string => `${HIDDEN}${string.slice(1, -1)}${HIDDEN}`;

/** @param path from the root of the repository; decides which kinds of text the file has */
export function findingsIn(path: string, source: string): Finding[] {
  const layers = layersOf(path, source);
  return (Object.keys(layers) as Kind[])
    .flatMap((kind) => (kind === 'name' ? namesIn(layers.name) : phrasesIn(kind, layers[kind])))
    .map(({ at, ...found }) => ({ path, line: source.slice(0, at).split('\n').length, ...found }));
}

type Match = Omit<Finding, 'path' | 'line'> & { readonly at: number };

function phrasesIn(kind: Kind, layer: string): Match[] {
  const patterns = PATTERNS.filter(({ kinds }) => kinds.includes(kind));
  return textsIn(kind, layer).flatMap(({ text, at }) =>
    patterns.flatMap(({ id, regex, unless, instead }) =>
      matchesOf(regex, text)
        .filter(({ index, 0: phrase }) => {
          const around = text.slice(Math.max(0, index - AROUND), index + phrase.length + AROUND);
          return unless?.test(around.replace(/\s+/g, ' ')) !== true;
        })
        .map(({ index, 0: phrase }) => ({ at: at + index, phrase: phrase.replace(/\s+/g, ' ').trim(), id, instead })),
    ),
  );
}

/** Unlike `matchAll`, does not copy and compile the expression for each of more than a hundred thousand strings. */
function matchesOf(regex: RegExp, text: string): RegExpExecArray[] {
  regex.lastIndex = 0;
  const found: RegExpExecArray[] = [];
  for (let match = regex.exec(text); match !== null; match = regex.exec(text)) found.push(match);
  return found;
}

/** A title is a text of its own, as is a message: `^` in a pattern is where it begins. */
function textsIn(kind: Kind, layer: string): { text: string; at: number }[] {
  if (kind === 'markdown' || kind === 'comment') return [{ text: layer, at: 0 }];
  return [...layer.matchAll(VISIBLE)].map(({ index, 0: text }) => ({ text, at: index }));
}

const namesIn = (layer: string): Match[] =>
  [...layer.matchAll(DECLARED)].flatMap((match) => {
    const name = match[1] ?? match[2] ?? '';
    return OF_NAMES.filter(({ regex, unless }) => name.search(regex) >= 0 && unless?.test(name) !== true).map(
      ({ id, instead }) => ({ at: match.index, phrase: name, id, instead }),
    );
  });
