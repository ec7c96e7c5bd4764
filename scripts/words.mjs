// Finds phrases that no native engineer would write; `npm run words` prints them.
import { PATTERNS } from './word-patterns.mjs';

/** Stands for code between two comments and for addresses of links. */
const HIDDEN = '\uE000';
const AROUND = 60;
const hide = (text) => text.replace(/[^\n]/g, HIDDEN);
const hideCode = (text) => text.replace(/`[^`\n]+`/g, (code) => '`'.repeat(code.length));

/** Comments, strings, templates up to a hole, regular expressions; a group for each. */
const TOKENS =
  /(\/\*[\s\S]*?\*\/|\/\/[^\n]*)|('(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|\$(?!\{)|[^`\\$])*(?:`|\$\{))|((?<=[([{,;=:?!&|+>]\s?|^\s{0,40}|\breturn )\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\/)/gm;
const TITLE = /\b(?:describe|it)\(\s*$/;
const DECLARED =
  /\b(?:const|let|function\*?|class|interface|type)\s+(#?[A-Za-z_$][\w$]*)|(?:[\n({,;])\s*(?:(?:readonly|async|static|private|get|set|override)\s+)*(#?[A-Za-z_$][\w$]*)\??\s*(?=[:=(](?!=))/g;

/** Texts as [kind, text, offset]. Comments of a file are one text, with its code hidden. */
function textsOf(path, source) {
  if (path.endsWith('.md')) {
    const hidden = [/^[ \t]*(```|~~~)[\s\S]*?^[ \t]*\1/gm, /<!--[\s\S]*?-->/g, /\]\([^)\n]*\)|https?:\/\/\S+/g];
    return [['p', hideCode(hidden.reduce((text, part) => text.replace(part, hide), source)), 0]];
  }
  const texts = [];
  let [comments, code, at] = ['', '', 0];
  const skip = (to) => {
    comments += hide(source.slice(at, to));
    code += source.slice(at, to);
    at = to;
  };
  for (const { 0: token, 1: comment, 2: string, index } of source.matchAll(TOKENS)) {
    skip(index);
    if (comment !== undefined) comments += withoutMarks(comment);
    else {
      comments += hide(token);
      const text = hideCode(string?.slice(1, -1) ?? '');
      if (TITLE.test(source.slice(Math.max(0, at - 20), at))) texts.push(['t', text, at + 1]);
      else if (!path.startsWith('test/') && text.trim().split(/\s+/).length >= 3) texts.push(['m', text, at + 1]);
    }
    code += hide(token);
    at += token.length;
  }
  skip(source.length);
  const names = [...code.matchAll(DECLARED)].map((match) => ['n', match[1] ?? match[2], match.index + 1]);
  return [...texts, ['c', hideCode(comments), 0], ...names];
}

const withoutMarks = (comment) =>
  comment.replace(/^\/\*+|\*\/$|^\/\//g, (mark) => ' '.repeat(mark.length)).replace(/^([ \t]*)\*/gm, '$1 ');

/** @param path from the root of the repository; decides which kinds of text the file has */
export function wordsIn(path, source) {
  return textsOf(path, source).flatMap(([kind, text, offset]) =>
    PATTERNS.filter(([kinds]) => kinds.includes(kind)).flatMap(([, phrase, instead, unless]) =>
      [...text.matchAll(phrase)]
        .filter(({ 0: found, index }) => {
          const around = text.slice(Math.max(0, index - AROUND), index + found.length + AROUND);
          return unless?.test(around.replace(/\s+/g, ' ')) !== true;
        })
        .map(({ 0: found, index }) => {
          const line = source.slice(0, offset + index).split('\n').length;
          return `${path}:${line}: "${kind === 'n' ? text : found.replace(/\s+/g, ' ').trim()}": ${instead}`;
        }),
    ),
  );
}
