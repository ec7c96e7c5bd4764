import { createScanner, type SyntaxKind } from 'jsonc-parser';

/* JSON parsers treat a name that an object has twice differently: most use the last value, some the first, and some
 * reject the object. These functions read token by token without recursion, so that deep nesting cannot overflow the
 * stack. */

/** jsonc-parser declares its kinds of tokens as a const enum, which does not exist at run time. */
const OPEN_BRACE = 1 as SyntaxKind;
const CLOSE_BRACE = 2 as SyntaxKind;
const OPEN_BRACKET = 3 as SyntaxKind;
const CLOSE_BRACKET = 4 as SyntaxKind;
const COMMA = 5 as SyntaxKind;
const COLON = 6 as SyntaxKind;
const STRING = 10 as SyntaxKind;
const END = 17 as SyntaxKind;

interface Token {
  readonly kind: SyntaxKind;
  /** In UTF-16 units. */
  readonly offset: number;
  /** As written in the JSON text. */
  readonly written: string;
  /** A string without its escapes. */
  readonly value: string;
  readonly isName: boolean;
  /**
   * Number of objects and lists around it. Braces and brackets count as outside of the object or list that they
   * enclose.
   */
  readonly depth: number;
}

/** Comments and whitespace are omitted. */
function* tokensOf(text: string): Generator<Token> {
  const scanner = createScanner(text, true);
  /** Whether each is an object, or a list. */
  const open: boolean[] = [];
  let isNameNext = false;
  for (let kind = scanner.scan(); kind !== END; kind = scanner.scan()) {
    if (kind === CLOSE_BRACE || kind === CLOSE_BRACKET) open.pop();
    const offset = scanner.getTokenOffset();
    const written = text.slice(offset, offset + scanner.getTokenLength());
    const isName = isNameNext && kind === STRING;
    yield { kind, offset, written, value: scanner.getTokenValue(), isName, depth: open.length };
    if (isOpening(kind)) open.push(kind === OPEN_BRACE);
    isNameNext = open.at(-1) === true && (kind === OPEN_BRACE || kind === COMMA);
  }
}

const isOpening = (kind: SyntaxKind) => kind === OPEN_BRACE || kind === OPEN_BRACKET;

/** A name that occurs earlier in the same object. */
export interface RepeatedName {
  /** From the outermost object; members of lists have no name of their own. */
  readonly path: readonly string[];
  /** Where it is repeated, in UTF-16 units. */
  readonly offset: number;
}

/** Maximum number of repeated names that are listed. */
const MAX_REPEATED = 16;

/**
 * The names that an object has more than once, compared without their escapes.
 *
 * @param text JSON; comments are allowed
 * @param same maps a name to a string that is equal for names that count as the same
 */
export function repeatedNames(text: string, same = (name: string) => name): readonly RepeatedName[] {
  const repeated: RepeatedName[] = [];
  /** Names in the object that is open at each depth. */
  const names: Set<string>[] = [];
  const path: string[][] = [];
  for (const { kind, offset, value, isName, depth } of tokensOf(text)) {
    if (isOpening(kind)) {
      names[depth + 1] = new Set();
      path[depth + 1] = [];
    }
    if (!isName) continue;
    path[depth] = [value];
    const known = names[depth];
    if (known?.has(same(value)) === true && repeated.length < MAX_REPEATED)
      repeated.push({ path: path.slice(1, depth + 1).flat(), offset });
    known?.add(same(value));
  }
  return repeated;
}

/** The offset at which objects and lists are nested more than `deepest` levels deep. @param text any text */
export function tooDeepAt(text: string, deepest: number): number | undefined {
  for (const { kind, offset, depth } of tokensOf(text)) if (isOpening(kind) && depth >= deepest) return offset;
  return undefined;
}

/** A member of an object. */
export interface Member {
  readonly name: string;
  /** Its value as it is written. */
  readonly text: string;
}

/** The members of an object in their order, repeated ones included. @param text a JSON object */
export function membersOf(text: string): readonly Member[] {
  const members: { name: string; start?: number; end?: number }[] = [];
  for (const { kind, offset, written, value, isName, depth } of tokensOf(text)) {
    if (depth === 1 && isName) members.push({ name: value });
    const member = members.at(-1);
    const isValue = depth > 1 || (depth === 1 && !isName && kind !== COLON && kind !== COMMA);
    if (member === undefined || !isValue) continue;
    member.start ??= offset;
    member.end = offset + written.length;
  }
  return members.map(({ name, start, end }) => ({ name, text: text.slice(start ?? 0, end ?? 0) }));
}

/** The same JSON without whitespace, with strings as JSON.stringify writes them and numbers unchanged. */
export function withoutBlanks(text: string): string {
  const parts: string[] = [];
  for (const { kind, written, value } of tokensOf(text)) parts.push(kind === STRING ? JSON.stringify(value) : written);
  return parts.join('');
}
