import { type Node, type ParseError, parseTree, printParseErrorCode } from 'jsonc-parser';
import { repeatedNames, tooDeepAt } from '../../core/base/json-names.ts';

/** Objects and lists within each other. The parser is recursive; settings need no more than three. */
const MAX_DEPTH = 64;

const PROBLEMS: Readonly<Record<ReturnType<typeof printParseErrorCode>, string>> = {
  InvalidSymbol: 'text without quotes',
  InvalidNumberFormat: 'an invalid number',
  PropertyNameExpected: 'a missing name in double quotes',
  ValueExpected: 'a missing value',
  ColonExpected: 'a missing colon',
  CommaExpected: 'a missing comma',
  CloseBraceExpected: 'a missing }',
  CloseBracketExpected: 'a missing ]',
  EndOfFileExpected: 'unexpected text after the end',
  InvalidCommentToken: 'an invalid comment',
  UnexpectedEndOfComment: 'a comment without an end',
  UnexpectedEndOfString: 'a string without an end',
  UnexpectedEndOfNumber: 'an incomplete number',
  InvalidUnicode: 'an invalid Unicode escape',
  InvalidEscapeCharacter: 'an invalid escape',
  InvalidCharacter: 'an invalid character',
  '<unknown ParseErrorCode>': 'a syntax error',
};

/**
 * Reads JSON with comments and trailing commas. `__proto__` is a name like others.
 *
 * @returns `problem`: what is wrong, with line and column; it quotes no part of the file, which may contain secrets.
 *   `repeated`: a message for each name that its object has already, of which `value` has the last
 */
export function parseJson(text: string): { value: unknown; repeated: readonly string[] } | { problem: string } {
  const json = text.replace(/^\uFEFF/, '');
  const placeOf = (offset: number) => {
    const before = json.slice(0, offset).split('\n');
    return `line ${before.length}, column ${(before.at(-1) ?? '').length + 1}`;
  };
  const deep = tooDeepAt(json, MAX_DEPTH);
  if (deep !== undefined) return { problem: `nested more than ${MAX_DEPTH} levels deep at ${placeOf(deep)}` };
  const errors: ParseError[] = [];
  const tree = parseTree(json, errors, { allowTrailingComma: true });
  const [first] = errors;
  if (first !== undefined)
    return { problem: `${PROBLEMS[printParseErrorCode(first.error)]} at ${placeOf(first.offset)}` };
  const repeated = repeatedNames(json).map(
    ({ path, offset }) => `${path.join('.')} is there twice, again at ${placeOf(offset)}`,
  );
  return { value: tree === undefined ? undefined : evaluated(tree), repeated };
}

/** Not jsonc-parser's own function: its objects have no prototype, so that they differ from those of JSON.parse. */
function evaluated({ type, value, children = [] }: Node): unknown {
  if (type === 'array') return children.map(evaluated);
  if (type !== 'object') return value;
  const members = children.map(({ children: [name, member] = [] }) => [
    name?.value,
    member === undefined ? undefined : evaluated(member),
  ]);
  return Object.fromEntries(members); // unlike assignment, it creates an own member even for __proto__
}
