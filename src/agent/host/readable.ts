/** No device name is longer; a USB string has at most 126 characters. */
const LONGEST_TEXT = 256;

/**
 * The name of a device or a firmware as one readable line. The device chooses it, so it can contain terminal escapes and
 * reversed text. Padding is removed, and control and formatting characters become `·`; invalid UTF-8 has already become
 * U+FFFD.
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
