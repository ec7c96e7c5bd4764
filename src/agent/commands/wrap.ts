import { printable } from '../../core/base/text.ts';

/* Text for a terminal of any width. */

const MIN_COLUMNS = 60;
const MAX_COLUMNS = 120;
/** The width for a file or a pipe. */
const USUAL_COLUMNS = 100;

/** @param columns the terminal's width; absent if there is no terminal */
export const widthOf = (columns = USUAL_COLUMNS): number => Math.min(MAX_COLUMNS, Math.max(MIN_COLUMNS, columns));

/** Wraps text after a label, with a hanging indent. Words that are longer than a line are split. */
export function hanging(label: string, text: string, width: number, indent: number): string[] {
  const lines: string[] = [];
  let current = label;
  let isEmpty = true;
  const longest = new RegExp(`.{1,${width - Math.max(indent, label.length)}}`, 'gu');
  for (const word of printable(text)
    .split(' ')
    .flatMap((each) => each.match(longest) ?? [''])) {
    if (!isEmpty && current.length + 1 + word.length > width) {
      lines.push(current);
      current = ' '.repeat(indent);
      isEmpty = true;
    }
    current += isEmpty ? word : ` ${word}`;
    isEmpty = false;
  }
  return [...lines, current];
}
