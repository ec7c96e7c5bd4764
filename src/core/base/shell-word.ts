/** Characters that a terminal hides or interprets; texts with any are written as bytes. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;

/**
 * Quotes a path, or any other argument, for a command that a person pastes into a shell: it stays one word with the
 * same text, and a path that begins with `-` is not taken for an option.
 *
 * Text with control characters becomes `$'…'`, which POSIX has since 2024 and dash doesn't support yet.
 */
export function shellWord(text: string): string {
  const safe = text.startsWith('-') ? `./${text}` : text;
  return UNPRINTABLE.test(safe) ? asBytes(safe) : `'${safe.replaceAll("'", `'\\''`)}'`;
}

function asBytes(text: string): string {
  const escaped = [...Buffer.from(text)].map((byte) => {
    const isPlain = byte >= 0x20 && byte < 0x7f && byte !== 0x27 && byte !== 0x5c;
    return isPlain ? String.fromCharCode(byte) : `\\${byte.toString(8).padStart(3, '0')}`;
  });
  return `$'${escaped.join('')}'`;
}
