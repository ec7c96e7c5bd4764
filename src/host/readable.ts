/** No name is longer; a USB string has at most 126 characters. */
const LONGEST_TEXT = 256;

/**
 * What a device or a firmware calls itself, as one readable line: it may have chosen anything, terminal escapes and
 * reversed text included. Padding goes, control and formatting characters become `·`; bytes that are no UTF-8 have become
 * U+FFFD already.
 *
 * @returns `undefined` when nothing is left
 */
export function readable(text: string): string | undefined {
  const line = text
    .replaceAll('\0', ' ')
    .trim()
    .slice(0, LONGEST_TEXT)
    .replace(/[\uD800-\uDBFF]$/, '')
    .replace(/[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu, '·');
  return line === '' ? undefined : line;
}
