/**
 * Characters that show nothing of themselves, and can change how the text around them is shown: formatting (bidirectional
 * controls, zero width, soft hyphen, tags), line and paragraph separators, private use, unassigned, lone surrogates; and
 * by Unicode's own list what a terminal may leave out: variation selectors, joiners, Hangul fillers. The blank Braille
 * pattern is in none of those classes.
 */
const INVISIBLE = /[\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cn}\p{Cs}\p{Default_Ignorable_Code_Point}\u2800]/gu;

/** The same text with each of these as its number: `<U+202E>`. */
export const visible = (text: string): string =>
  text.replace(INVISIBLE, (char) => `<U+${(char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}>`);

/** Other people's text on a terminal, as one line: nothing in it can move the cursor, change colours, or hide. */
export const printable = (line: string): string => visible(line.replace(/\p{Cc}/gu, '·'));

/**
 * JSON text, also other people's, with what JSON.stringify leaves as it is and a terminal doesn't show as it is escaped:
 * DEL, the C1 set, among which is a terminal's CSI, and all that is invisible. It stays the same JSON.
 */
export const printableJson = (json: string): string =>
  json.replace(/[\u007f-\u009f]/g, escaped).replace(INVISIBLE, escaped);

const escaped = (char: string): string =>
  Array.from({ length: char.length }, (_, index) => `\\u${char.charCodeAt(index).toString(16).padStart(4, '0')}`).join(
    '',
  );
