/* Backslash escapes of `$'…'`, `printf` and `echo -e`, and of string literals in most languages. */

const SINGLE: Readonly<Record<string, string>> = {
  ...{ a: '\x07', b: '\b', e: '\x1b', E: '\x1b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' },
  ...{ '\\': '\\', "'": "'", '"': '"', '?': '?' },
};

const digits = (text: string, at: number, most: number, radix: number): number => {
  let end = at;
  while (end < at + most && end < text.length) {
    const value = Number.parseInt(text[end] ?? '', radix);
    if (Number.isNaN(value)) break;
    end++;
  }
  return end;
};

/** Decodes `\n`, `\x41`, `\101`, `\0101`, `\u0041` and `\U00000041`; any other text is unchanged. */
export function decodeEscapes(text: string): string {
  let at = text.indexOf('\\');
  if (at === -1) return text;
  const out = [text.slice(0, at)];
  while (at < text.length) {
    if (text[at] !== '\\') {
      const next = text.indexOf('\\', at);
      out.push(text.slice(at, next === -1 ? text.length : next));
      at = next === -1 ? text.length : next;
      continue;
    }
    const c = text[at + 1] ?? '';
    const width = c === 'x' ? 2 : c === 'u' ? 4 : c === 'U' ? 8 : 0;
    if (width > 0) {
      const end = digits(text, at + 2, width, 16);
      if (end > at + 2) out.push(character(Number.parseInt(text.slice(at + 2, end), 16)));
      else out.push(`\\${c}`);
      at = end;
    } else if (c >= '0' && c <= '7') {
      // \NNN in $'…' and printf, \0NNN in echo.
      const end = digits(text, at + 1, c === '0' ? 4 : 3, 8);
      out.push(character(Number.parseInt(text.slice(at + 1, end), 8)));
      at = end;
    } else {
      out.push(SINGLE[c] ?? `\\${c}`);
      at += 2;
    }
  }
  return out.join('');
}

const character = (code: number): string => (code <= 0x10ffff ? String.fromCodePoint(code) : '\ufffd');
