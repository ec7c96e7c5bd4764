import { type ParseError, parse, printParseErrorCode } from 'jsonc-parser';

/**
 * Reads JSON with comments and trailing commas.
 *
 * @returns `problem`: the parser's message with line and column; it quotes nothing of the text, which may hold secrets
 */
export function parseJson(text: string): { value: unknown } | { problem: string } {
  const errors: ParseError[] = [];
  const value: unknown = parse(text.replace(/^\uFEFF/, ''), errors, { allowTrailingComma: true });
  const [first] = errors;
  if (first === undefined) return { value };
  const before = text.slice(0, first.offset).split('\n');
  return {
    problem: `${printParseErrorCode(first.error)} at line ${before.length}, column ${(before.at(-1) ?? '').length + 1}`,
  };
}
