/** The hub refuses a query. */
export class QueryError extends Error {
  override readonly name = 'QueryError';
}

export type Token =
  | { readonly kind: 'word' | 'symbol' | 'quotedName'; readonly text: string; readonly at: number }
  | { readonly kind: 'constant'; readonly value: string | number; readonly text: string; readonly at: number }
  | { readonly kind: 'end'; readonly text: ''; readonly at: number };

/** Characters. Source: "Queries for IoT Hub device and module twins", limitations. */
const MAX_QUERY_CHARACTERS = 8192;

/** In this order: white space, `[[name]]`, words, numbers, strings, symbols. */
const TOKEN =
  /(\s+)|\[\[([^\]]{1,1024})\]\]|([A-Za-z_$][\w$]*)|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|(<=|>=|<>|!=|[=<>(),.*[\]])/sy;

/** Splits a query into its tokens. @throws QueryError */
export function tokensOf(query: string): Token[] {
  if (query.length > MAX_QUERY_CHARACTERS)
    throw new QueryError(`The query is longer than ${MAX_QUERY_CHARACTERS} characters.`);
  const tokens: Token[] = [];
  let at = 0;
  while (at < query.length) {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(query);
    if (match === null) throw new QueryError(`Syntax error at position ${at + 1}: ${query.slice(at, at + 20)}`);
    const [text, space, quotedName, word, number, string, symbol] = match;
    if (quotedName !== undefined) tokens.push({ kind: 'quotedName', text: quotedName, at });
    else if (word !== undefined) tokens.push({ kind: 'word', text: word, at });
    else if (number !== undefined) tokens.push({ kind: 'constant', value: Number(number), text, at });
    else if (string !== undefined) tokens.push({ kind: 'constant', value: unescaped(string, at), text, at });
    else if (space === undefined) tokens.push({ kind: 'symbol', text: symbol ?? '', at });
    at += text.length;
  }
  return [...tokens, { kind: 'end', text: '', at }];
}

/** Allowed escapes: `\'`, `\"`, `\\`, `\uXXXX`. */
const unescaped = (literal: string, at: number): string =>
  literal.slice(1, -1).replace(/\\(?:u([0-9A-Fa-f]{4})|(.))/gs, (written, code: string | undefined, char: string) => {
    if (code !== undefined) return String.fromCharCode(Number.parseInt(code, 16));
    if (!['"', "'", '\\'].includes(char)) throw new QueryError(`Syntax error at position ${at + 1}: ${written}`);
    return char;
  });
