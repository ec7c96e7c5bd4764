/** What a terminal hides, or takes for something else than a character: these are written as bytes. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;

/**
 * A path, or any other argument, for a command that a person pastes into a shell: always quoted, so that it is one word
 * with the same text, whatever is in it; a path never looks like an option.
 *
 * Names with control characters become `$'…'`, which POSIX has had since 2024 and dash doesn't know yet.
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
