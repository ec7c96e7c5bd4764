/** `1 file`, `2 files`; `several` for other plurals. */
export const counted = (count: number, one: string, several = `${one}s`): string =>
  `${count} ${count === 1 ? one : several}`;

/**
 * Invisible characters, some of which change how the text around them is displayed: formatting (bidirectional controls,
 * zero width, soft hyphen, tags), line and paragraph separators, private use, unassigned, lone surrogates; and those
 * that Unicode allows a terminal to ignore: variation selectors, joiners, Hangul fillers. U+2800, the empty Braille
 * pattern, is listed separately, since it belongs to none of those classes.
 */
const INVISIBLE = /[\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cn}\p{Cs}\p{Default_Ignorable_Code_Point}\u2800]/gu;

/** Replaces each invisible character by its code point: `<U+202E>`. */
export const visible = (text: string): string =>
  text.replace(INVISIBLE, (char) => `<U+${(char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}>`);

/**
 * Makes untrusted text safe for a terminal, as one line: it cannot move the cursor, change colours, or hide characters.
 */
export const printable = (line: string): string => visible(line.replace(/\p{Cc}/gu, '·'));

/**
 * Makes untrusted JSON text safe for a terminal. Escapes what JSON.stringify does not: DEL, the C1 controls, which
 * include CSI, and invisible characters. The JSON value stays the same.
 */
export const printableJson = (json: string): string =>
  json.replace(/[\u007f-\u009f]/g, escaped).replace(INVISIBLE, escaped);

const escaped = (char: string): string =>
  Array.from({ length: char.length }, (_, index) => `\\u${char.charCodeAt(index).toString(16).padStart(4, '0')}`).join(
    '',
  );

/** Characters that a terminal hides or interprets; a string with any of them is quoted byte by byte. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;

/**
 * Quotes a path or another argument for a command that a person pastes into a shell. It stays one word with the same
 * characters, and a path that begins with `-` is not parsed as an option.
 *
 * Text with control characters becomes `$'…'`, which POSIX has had since 2024 and dash does not support yet.
 */
export function shellWord(text: string): string {
  const safe = text.startsWith('-') ? `./${text}` : text;
  return UNPRINTABLE.test(safe) ? asBytes(safe) : `'${safe.replaceAll("'", `'\\''`)}'`;
}

function asBytes(text: string): string {
  const escaped = [...new TextEncoder().encode(text)].map((byte) => {
    const isPlain = byte >= 0x20 && byte < 0x7f && byte !== 0x27 && byte !== 0x5c;
    return isPlain ? String.fromCharCode(byte) : `\\${byte.toString(8).padStart(3, '0')}`;
  });
  return `$'${escaped.join('')}'`;
}
