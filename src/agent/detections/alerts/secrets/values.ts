import { type SecretName, secretName } from './names.ts';
import type { Span } from './spans.ts';

/* Secrets after a name: `password=x`, `"token": "x"`, `Authorization: Bearer x`, `&sig=x`. Every expression here has a single
 * character class, so that none backtracks. */

const NAME = /[A-Za-z0-9_.-]+/g;
const SCHEMES = new Set([
  'bearer',
  'basic',
  'digest',
  'token',
  'negotiate',
  'apikey',
  'sharedaccesssignature',
  'aws4-hmac-sha256',
]);
/** Characters that end an unquoted value. */
const ENDS = new Set([...'&;,"\'`)}]|<> \t\r\n']);
const isBlank = (char: string | undefined) => char === ' ' || char === '\t' || char === '\r' || char === '\n';
const isQuote = (char: string | undefined) => char === '"' || char === "'";

/** Optional spaces around `=` or `:`. */
const MAX_BLANKS = 2;

export function namedValues(text: string): Span[] {
  const spans: Span[] = [];
  let done = 0;
  for (const match of text.matchAll(NAME)) {
    const start = match.index;
    // Within a value. Checking each name of `pass=pass=pass=…` would take quadratic time.
    if (start < done) continue;
    const end = start + match[0].length;
    const assignment = assignmentAt(text, end);
    if (assignment === undefined) continue;
    const before = text[start - 1];
    const name = secretName(match[0], before === '?' || before === '&');
    if (name === undefined) continue;
    const isOption = match[0].startsWith('-') && (start === 0 || isBlank(before));
    for (const span of valueAt(text, assignment, name, isOption)) {
      spans.push(span);
      done = span.end;
    }
  }
  return spans;
}

/** Where the value starts, after `=`, `:`, `": ` and similar; `undefined` if the name at `end` has no value. */
function assignmentAt(text: string, end: number): { at: number; isHeader: boolean } | undefined {
  let at = end;
  // `"name":` and, within a script, `\"name\":`.
  if (text[at] === '\\' && isQuote(text[at + 1])) at += 2;
  else if (isQuote(text[at])) at += 1;
  const sign = skipBlanks(text, at);
  const isEqual = text[sign] === '=';
  if (!isEqual && (text[sign] !== ':' || sign !== at)) return undefined;
  // `scheme://`, `a == b`, and a name with `=` after a space, which is a separate word only if it has spaces on both sides.
  if (text.startsWith('://', sign) || text[sign + 1] === '=') return undefined;
  const after = skipBlanks(text, sign + 1);
  if (isEqual && sign !== at && after === sign + 1) return undefined;
  if (isEqual && sign === at && after !== sign + 1) return undefined;
  return { at: after, isHeader: !isEqual };
}

function skipBlanks(text: string, from: number): number {
  let at = from;
  while (at < from + MAX_BLANKS && isBlank(text[at])) at += 1;
  return at;
}

function valueAt(
  text: string,
  { at, isHeader }: { at: number; isHeader: boolean },
  name: SecretName,
  isOption: boolean,
): Span[] {
  if (name.mayBePath && isPath(text, at)) return [];
  const value = endOfValue(text, at, isOption);
  if (value.end === value.start) return [];
  // The scheme is evidence; the text after it is the secret.
  const word = text.slice(value.start, Math.min(value.end, value.start + 32)).toLowerCase();
  if (!isHeader || !SCHEMES.has(word)) return [value];
  const credentials = endOfValue(text, skipBlanks(text, value.end), false);
  return name.hasScheme ? [credentials] : [value, credentials];
}

function endOfValue(text: string, from: number, isOption: boolean): Span {
  const escaped = text[from] === '\\' && isQuote(text[from + 1]);
  const quote = text[escaped ? from + 1 : from];
  if (isQuote(quote) && quote !== undefined) {
    const start = from + (escaped ? 2 : 1);
    const close = text.indexOf(escaped ? `\\${quote}` : quote, start);
    return { start, end: close === -1 ? text.length : close };
  }
  let end = from;
  // The value of an option is a separate argument, up to the space, with any content.
  while (end < text.length && (isOption ? !isBlank(text[end]) : !ENDS.has(text[end] ?? ''))) end += 1;
  return { start: from, end };
}

/** `/etc/x`, `./x`, `~/x`, `@file`, `file:…`. */
export const isPath = (text: string, at: number): boolean =>
  /^["']?(?:~?\/|\.{1,2}\/|@|file:)/.test(text.slice(at, at + 6));
