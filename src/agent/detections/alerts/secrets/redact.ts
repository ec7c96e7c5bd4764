import { secretArguments } from './options.ts';
import { replaced, type Span } from './spans.ts';
import { knownTokens, privateKeys } from './tokens.ts';
import { namedValues } from './values.ts';

/**
 * Replaces probable secrets in a command line by `[redacted]`. The time is linear in the length for any input, because users
 * choose the arguments of the programs that they start.
 *
 * Arguments are joined by spaces, so only the first word of a secret with spaces is found. Base64 and hexadecimal strings
 * without a name are kept: in an alert they are evidence.
 */
export const redactCommandLine = (text: string): string =>
  replaced(text, [
    ...namedValues(text),
    ...secretArguments(text),
    ...urlPasswords(text),
    ...knownTokens(text),
    ...privateKeys(text),
  ]);

/** A user name without a password is a token if it is as long as one: `https://TOKEN@github.com`. */
const SHORTEST_TOKEN = 20;

/** Maximum length of a password that contains an unescaped `/`. */
const LONGEST_PASSWORD = 256;

/** Passwords in URLs: `scheme://user:password@host`. */
export function urlPasswords(text: string): Span[] {
  const spans: Span[] = [];
  let sign = text.indexOf('://');
  while (sign !== -1) {
    const start = sign + 3;
    const end = endOfAuthority(text, start);
    const authority = text.slice(start, end);
    const found = authority.includes('@') ? userIn(authority) : passwordWithSlash(text, authority, end - start, start);
    if (found !== undefined) spans.push({ start: start + found.start, end: start + found.end });
    sign = text.indexOf('://', end);
  }
  return spans;
}

const AUTHORITY_ENDS = new Set([...'/?#"\'<>`|; \t\r\n']);

function endOfAuthority(text: string, start: number): number {
  let end = start;
  while (end < text.length && !AUTHORITY_ENDS.has(text[end] ?? '')) end += 1;
  return end;
}

/** The span within the authority. */
function userIn(authority: string): Span | undefined {
  const at = authority.lastIndexOf('@');
  const colon = authority.indexOf(':');
  if (colon !== -1 && colon < at) return { start: colon + 1, end: at };
  return at >= SHORTEST_TOKEN ? { start: 0, end: at } : undefined;
}

function passwordWithSlash(text: string, authority: string, length: number, from: number): Span | undefined {
  const colon = authority.indexOf(':');
  // A port, or an address of IPv6.
  if (colon === -1 || authority.startsWith('[') || /^\d*$/.test(authority.slice(colon + 1))) return undefined;
  const [rest = ''] = text.slice(from + length, from + length + LONGEST_PASSWORD).split(/\s/, 1);
  const at = rest.indexOf('@');
  return at === -1 ? undefined : { start: colon + 1, end: length + at };
}
