/* Splits a shell script into words and operators, like POSIX 2.3 (Token Recognition) and bash. Nothing is expanded here, because
 * the value of a variable depends on the previous commands.
 *
 * Tolerant, because input can be truncated and command lines can have lost their quotes: an unmatched quote is an ordinary
 * character, and an unterminated substitution extends to the end of the text.
 *
 * Each character is read once; the items of brace lists are read again, within the budget.
 */
import {
  BACKSLASH,
  CLOSING_BRACE,
  COMMA,
  DOUBLE_QUOTE,
  HASH,
  isBlank,
  isDigit,
  isNameCharacter,
  isNameStart,
  isOperator,
  isQuoting,
  OPENING_BRACE,
  SINGLE_QUOTE,
} from './characters.ts';
import { decodeEscapes } from './escapes.ts';
import type { Work } from './limits.ts';

export type Part =
  | { readonly is: 'text'; readonly text: string; readonly quoted: boolean }
  /** `${name:0:1}`: `rest` is `:0:1`. */
  | {
      readonly is: 'parameter';
      readonly name: string;
      readonly rest: string;
      readonly raw: string;
      readonly quoted: boolean;
    }
  /** `$(…)`, backticks, `<(…)`, `>(…)`. */
  | { readonly is: 'script'; readonly text: string; readonly raw: string; readonly quoted: boolean }
  /** `{a,b}`. */
  | { readonly is: 'choice'; readonly of: readonly (readonly Part[])[] };

export type Item =
  | { readonly is: 'word'; readonly parts: readonly Part[] }
  | { readonly is: 'operator'; readonly text: string }
  /** Its target is the next word; `body` is the text of a here-document. */
  | { readonly is: 'redirection'; readonly operator: string; body?: string };

/** Longest first. */
const REDIRECTIONS = ['&>>', '<<<', '<<-', '&>', '>>', '>&', '>|', '<<', '<&', '<>', '<', '>'];
const OPERATORS = ['&&', '||', ';;', '|&', ';', '|', '&', '(', ')', '\n'];
const LONGEST_PARAMETER = 1_024;
const MAX_CHOICES = 64;

/** All words and operators of a script. */
export const lexScript = (text: string, work: Work): Item[] => new Lexer(text, work, false).items();

/** One argument of a program: spaces and operators are ordinary characters of it. */
export const lexArgument = (text: string, work: Work): readonly Part[] => new Lexer(text, work, true).word();

class Lexer {
  readonly #text: string;
  readonly #work: Work;
  readonly #isArgument: boolean;
  #at = 0;
  /** Position of the next quote of each kind, so that a search is not repeated over the same characters. */
  readonly #next = new Map<string, number>();
  /** The same for `#findBraces`. */
  readonly #ahead = new Map<string, number>();

  /** Brace lists by their start: the positions of `{`, commas and `}`; known up to the end of a word. */
  readonly #braces = new Map<number, readonly number[]>();
  #bracesEnd = 0;

  constructor(text: string, work: Work, isArgument: boolean) {
    this.#text = text;
    this.#work = work;
    this.#isArgument = isArgument;
  }

  items(): Item[] {
    const items: Item[] = [];
    const documents: { item: { body?: string }; delimiter: string; strip: boolean }[] = [];
    let awaited: { item: { body?: string }; strip: boolean } | undefined;
    if (!this.#work.spend(this.#text.length)) return items;
    while (this.#at < this.#text.length) {
      const code = this.#text.charCodeAt(this.#at);
      if (isBlank(code) || (code === BACKSLASH && this.#text[this.#at + 1] === '\n')) {
        this.#at += code === BACKSLASH ? 2 : 1;
      } else if (code === HASH) {
        const end = this.#text.indexOf('\n', this.#at);
        this.#at = end === -1 ? this.#text.length : end;
      } else if (isOperator(code) && !this.#isProcessSubstitution()) {
        const redirection = this.#redirection();
        if (redirection !== undefined) {
          const item: Item = { is: 'redirection', operator: redirection };
          items.push(item);
          if (redirection === '<<' || redirection === '<<-') awaited = { item, strip: redirection === '<<-' };
          continue;
        }
        const operator = OPERATORS.find((o) => this.#text.startsWith(o, this.#at)) ?? '';
        this.#at += operator.length;
        items.push({ is: 'operator', text: operator });
        if (operator === '\n') for (const document of documents.splice(0)) this.#hereDocument(document);
      } else if (isDigit(code) && this.#descriptorEnd() > 0) {
        const from = this.#at;
        this.#at = this.#descriptorEnd();
        const fd = this.#text.slice(from, this.#at);
        const redirection = this.#redirection() ?? '>';
        items.push({ is: 'redirection', operator: fd + redirection });
      } else {
        const parts = this.word();
        items.push({ is: 'word', parts });
        if (awaited !== undefined) {
          documents.push({
            ...awaited,
            delimiter: parts.map((part) => (part.is === 'text' ? part.text : '')).join(''),
          });
          awaited = undefined;
        }
      }
    }
    return items;
  }

  /** Reads up to the end of a word. */
  word(): readonly Part[] {
    const begin = this.#at;
    this.#at = this.#plainEnd();
    let plain = this.#text.slice(begin, this.#at);
    if (plain !== '' && this.#isWordEnd()) return [{ is: 'text', text: plain, quoted: false }]; // like most words
    const parts: Part[] = [];
    const flush = () => {
      if (plain !== '') parts.push({ is: 'text', text: plain, quoted: false });
      plain = '';
    };
    while (this.#at < this.#text.length) {
      const from = this.#at;
      this.#at = this.#plainEnd();
      plain += this.#text.slice(from, this.#at);
      if (this.#isWordEnd()) break;
      const c = this.#text[this.#at] ?? '';
      const special = this.#special(c);
      if (special === undefined) {
        plain += c;
        this.#at++;
      } else {
        flush();
        parts.push(...special);
      }
    }
    flush();
    return parts;
  }

  /** The end of a run of ordinary characters. */
  #plainEnd(): number {
    let at = this.#at;
    for (; at < this.#text.length; at++) {
      const code = this.#text.charCodeAt(at);
      if (isQuoting(code)) break;
      if (!this.#isArgument && (isBlank(code) || isOperator(code))) break;
    }
    return at;
  }

  /** Whether the character after a run of ordinary characters is outside the word. */
  #isWordEnd(): boolean {
    if (this.#at >= this.#text.length) return true;
    return !isQuoting(this.#text.charCodeAt(this.#at)) && (this.#isArgument || !this.#isProcessSubstitution());
  }

  /** The parts that start with a special character; undefined if it is an ordinary one. */
  #special(c: string): Part[] | undefined {
    switch (c) {
      case "'":
        return this.#single();
      case '"':
        return this.#double();
      case '\\': {
        const next = this.#text[this.#at + 1];
        if (next === undefined) return undefined;
        this.#at += 2;
        return next === '\n' ? [] : [{ is: 'text', text: next, quoted: true }];
      }
      case '$':
        return this.#dollar(false);
      case '`':
        return this.#backticks(false);
      case '{':
        return this.#choice();
      case '<':
      case '>':
        return [this.#substitution(2, false)];
      default:
        return undefined;
    }
  }

  /** @param found positions of quotes from earlier searches of the same reader; a look-ahead has its own */
  #endOfQuote(quote: string, from: number, found = this.#next): number {
    const known = found.get(quote) ?? 0;
    if (known === -1 || known >= from) return known;
    const end = this.#text.indexOf(quote, from);
    found.set(quote, end);
    return end;
  }

  /** The same within double quotes, where an escaped quote does not end the text. */
  #endOfQuoted(quote: string, from: number, found = this.#next): number {
    let end = this.#endOfQuote(quote, from, found);
    if (quote === '"') while (end !== -1 && this.#isEscaped(end, from)) end = this.#endOfQuote(quote, end + 1, found);
    return end;
  }

  #isEscaped(at: number, from: number): boolean {
    let backslashes = 0;
    while (at - backslashes > from && this.#text[at - backslashes - 1] === '\\') backslashes++;
    return backslashes % 2 === 1;
  }

  #single(): Part[] | undefined {
    const end = this.#endOfQuote("'", this.#at + 1);
    if (end === -1) return undefined;
    const text = this.#text.slice(this.#at + 1, end);
    this.#at = end + 1;
    return [{ is: 'text', text, quoted: true }];
  }

  #double(): Part[] | undefined {
    if (this.#endOfQuote('"', this.#at + 1) === -1) return undefined;
    const parts: Part[] = [];
    let plain = '';
    const flush = () => {
      if (plain !== '') parts.push({ is: 'text', text: plain, quoted: true });
      plain = '';
    };
    this.#at++;
    while (this.#at < this.#text.length) {
      const c = this.#text[this.#at] ?? '';
      if (c === '"') {
        this.#at++;
        break;
      }
      const next = this.#text[this.#at + 1] ?? '';
      if (c === '\\' && (next === '"' || next === '\\' || next === '$' || next === '`' || next === '\n')) {
        plain += next === '\n' ? '' : next;
        this.#at += 2;
        continue;
      }
      const special = c === '$' ? this.#dollar(true) : c === '`' ? this.#backticks(true) : undefined;
      if (special === undefined) {
        plain += c;
        this.#at++;
      } else {
        flush();
        parts.push(...special);
      }
    }
    flush();
    // "" starts a word, even if it is empty.
    return parts.length > 0 ? parts : [{ is: 'text', text: '', quoted: true }];
  }

  #dollar(quoted: boolean): Part[] | undefined {
    const from = this.#at;
    const next = this.#text[from + 1] ?? '';
    if (next === "'" && !quoted) return this.#ansi();
    if (next === '"' && !quoted) {
      this.#at++;
      return this.#double();
    }
    if (next === '(') {
      const script = this.#substitution(2, quoted);
      // $((…)) is arithmetic.
      return [this.#text[from + 2] === '(' ? { is: 'text', text: script.raw, quoted: true } : script];
    }
    if (next === '{') return this.#braced(quoted);
    let end = from + 1;
    if (isNameStart(next.charCodeAt(0))) {
      while (end < this.#text.length && isNameCharacter(this.#text.charCodeAt(end))) end++;
    } else if ('@*#?-$!0123456789'.includes(next) && next !== '') end++;
    else return undefined;
    this.#at = end;
    return [
      { is: 'parameter', name: this.#text.slice(from + 1, end), rest: '', raw: this.#text.slice(from, end), quoted },
    ];
  }

  /** `$'…'` */
  #ansi(): Part[] | undefined {
    let end = this.#at + 2;
    while (end < this.#text.length && this.#text[end] !== "'") end += this.#text[end] === '\\' ? 2 : 1;
    if (end >= this.#text.length || !this.#work.spend(end - this.#at)) return undefined;
    const text = decodeEscapes(this.#text.slice(this.#at + 2, end));
    this.#at = end + 1;
    return [{ is: 'text', text, quoted: true }];
  }

  /** `${…}` */
  #braced(quoted: boolean): Part[] | undefined {
    const from = this.#at;
    const end = this.#endOfQuote('}', from + 2);
    if (end === -1 || end - from > LONGEST_PARAMETER) return undefined;
    const inner = this.#text.slice(from + 2, end);
    let nameEnd = inner.startsWith('!') ? 1 : 0;
    if (isNameStart(inner.charCodeAt(nameEnd)) || isDigit(inner.charCodeAt(nameEnd))) {
      while (nameEnd < inner.length && isNameCharacter(inner.charCodeAt(nameEnd))) nameEnd++;
    } else if (inner !== '') nameEnd++;
    this.#at = end + 1;
    const raw = this.#text.slice(from, end + 1);
    return [{ is: 'parameter', name: inner.slice(0, nameEnd), rest: inner.slice(nameEnd), raw, quoted }];
  }

  #backticks(quoted: boolean): Part[] | undefined {
    const end = this.#endOfQuote('`', this.#at + 1);
    if (end === -1) return undefined;
    const raw = this.#text.slice(this.#at, end + 1);
    this.#at = end + 1;
    return [{ is: 'script', text: raw.slice(1, -1), raw, quoted }];
  }

  /** `$(…)`, `<(…)`: up to the matching parenthesis, skipping quotes and nested ones. */
  #substitution(opening: number, quoted: boolean): Extract<Part, { is: 'script' }> {
    const from = this.#at;
    let depth = 1;
    let at = from + opening;
    for (; at < this.#text.length; at++) {
      const c = this.#text[at];
      if (c === '(') depth++;
      else if (c === ')' && --depth === 0) break;
      else if (c === '\\') at++;
      else if (c === "'" || c === '"') {
        const end = this.#endOfQuoted(c, at + 1);
        if (end !== -1) at = end;
      }
    }
    this.#at = Math.min(at + 1, this.#text.length);
    const raw = this.#text.slice(from, this.#at);
    return { is: 'script', text: this.#text.slice(from + opening, at), raw, quoted };
  }

  /** `{nc,-e,/bin/sh}` */
  #choice(): Part[] | undefined {
    const from = this.#at;
    if (from >= this.#bracesEnd) this.#findBraces();
    const edges = this.#braces.get(from);
    if (edges === undefined) return undefined;
    this.#at = (edges.at(-1) ?? from) + 1;
    const of: (readonly Part[])[] = [];
    for (let i = 0; i + 1 < edges.length; i++) {
      const text = this.#text.slice((edges[i] ?? 0) + 1, edges[i + 1]);
      if (!this.#work.spend(text.length)) break;
      of.push(new Lexer(text, this.#work, false).word());
    }
    return [{ is: 'choice', of }];
  }

  /** Finds all brace lists up to the end of the word, in one pass. */
  #findBraces(): void {
    const open: number[][] = [];
    let at = this.#at;
    for (; at < this.#text.length; at++) {
      const code = this.#text.charCodeAt(at);
      if (isBlank(code) || isOperator(code)) break;
      if (code === BACKSLASH) at++;
      else if (code === DOUBLE_QUOTE || code === SINGLE_QUOTE) {
        const end = this.#endOfQuoted(code === DOUBLE_QUOTE ? '"' : "'", at + 1, this.#ahead);
        if (end !== -1) at = end;
      } else if (code === OPENING_BRACE) open.push([at]);
      else if (code === COMMA) open.at(-1)?.push(at);
      else if (code === CLOSING_BRACE) {
        const edges = open.pop();
        if (edges !== undefined && edges.length > 1 && edges.length <= MAX_CHOICES) {
          edges.push(at);
          this.#braces.set(edges[0] ?? 0, edges);
        }
      }
    }
    this.#bracesEnd = at + 1;
  }

  #isProcessSubstitution(): boolean {
    const c = this.#text[this.#at];
    return (c === '<' || c === '>') && this.#text[this.#at + 1] === '(';
  }

  #redirection(): string | undefined {
    const found = REDIRECTIONS.find((o) => this.#text.startsWith(o, this.#at));
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  /** The end of the digits before `<` or `>`; 0 if they are not a descriptor's number. */
  #descriptorEnd(): number {
    let end = this.#at;
    while (end - this.#at < 4 && isDigit(this.#text.charCodeAt(end))) end++;
    const c = this.#text[end];
    return c === '<' || c === '>' ? end : 0;
  }

  #hereDocument({ item, delimiter, strip }: { item: { body?: string }; delimiter: string; strip: boolean }): void {
    const lines: string[] = [];
    while (this.#at < this.#text.length) {
      const found = this.#text.indexOf('\n', this.#at);
      const end = found === -1 ? this.#text.length : found;
      let line = this.#text.slice(this.#at, end);
      this.#at = Math.min(end + 1, this.#text.length);
      if (strip) while (line.startsWith('\t')) line = line.slice(1);
      if (line === delimiter) break;
      lines.push(line);
    }
    item.body = `${lines.join('\n')}\n`;
  }
}
