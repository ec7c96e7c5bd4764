import {
  Composer,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  type Node,
  Parser,
  type Scalar,
  visit,
  type YAMLMap,
} from 'yaml';
import { finishNow } from '../slices.ts';
import { type Document, type Fault, MAX_FAULTS } from './rule.ts';

/* Loaded on demand: the shipped rules are JSON, and most devices have no rules of their own. */

/** Larger files are rejected; the largest file of SigmaHQ has 30 KB. */
export const MAX_FILE_CHARACTERS = 262_144;
/** Limit per document, so that it is composed within tens of milliseconds: about 6,000 values, one per line. */
const MAX_TOKENS = 30_000;
/** Limit per value and comment: folding and escapes are resolved without interruption. */
const MAX_TOKEN_CHARACTERS = 32_768;
/** Tokens that are read without interruption. */
const SLICE_TOKENS = 500;
/** Rules have fewer than 20 levels. */
const MAX_NESTED = 100;

interface Read {
  readonly documents: readonly Document[];
  readonly faults: readonly Fault[];
}

/** Like `readYamlInSlices`, without interruption. */
export const readYaml = (text: string, file: string, origin: Document['origin']): Read =>
  finishNow(readYamlInSlices(text, file, origin));

/**
 * The documents of a file, or its errors as YAML. Aliases are rejected, because they can make a small file very large.
 * Yields between slices of the work; the longest slice is one document of MAX_TOKENS.
 */
export function* readYamlInSlices(text: string, file: string, origin: Document['origin']): Generator<void, Read> {
  if (text.length > MAX_FILE_CHARACTERS)
    return { documents: [], faults: [{ file, reason: `the file is larger than ${MAX_FILE_CHARACTERS / 1024} KiB` }] };
  const lines = new LineCounter();
  const faults: Fault[] = [];
  const documents: Document[] = [];
  const lineAt = (offset: number) => lines.linePos(offset).line;
  const refuse = (reason: string, at?: number) => {
    if (faults.length < MAX_FAULTS) faults.push({ file, reason, ...(at === undefined ? {} : { line: lineAt(at) }) });
  };
  // `uniqueKeys` compares each key of a map with all others, which takes seconds for large maps; `repeatedKeys` does not.
  const composer = new Composer({ version: '1.2', uniqueKeys: false, logLevel: 'silent' });
  for (const document of documentsOf(text, { composer, lines, refuse })) {
    if (document === undefined) {
      yield;
      continue;
    }
    for (const { message, pos } of [...document.errors, ...document.warnings])
      refuse(message.split('\n', 1)[0] ?? 'no YAML', pos[0]);
    visit(document, {
      Node: (_, node) => {
        if (isAlias(node)) {
          refuse('aliases (*name) are not allowed', beginOf(node));
          return visit.BREAK;
        }
        if (isScalar(node)) keepText(node);
        if (isMap(node)) for (const key of repeatedKeys(node)) refuse(`"${key.value}" is given twice`, beginOf(key));
        return undefined;
      },
    });
    if (faults.length > 0) continue;
    const { contents } = document;
    if (contents === null || (isScalar(contents) && contents.value === null)) continue; // for example after a last `---`
    documents.push({
      file,
      origin,
      value: document.toJS({ mapAsMap: false }),
      lineOf: (path) => {
        const offset = offsetOf(contents as Node, path);
        return offset === undefined ? undefined : lineAt(offset);
      },
    });
  }
  if (documents.length === 0 && faults.length === 0) refuse('the file has no rule');
  return { documents, faults };
}

interface Into {
  readonly composer: Composer;
  readonly lines: LineCounter;
  readonly refuse: (reason: string, at?: number) => void;
}

/**
 * The documents of a text, and `undefined` between slices of the work. Stops at a limit, because the library would take seconds
 * for a small file: it creates an Error with its stack for each fault, and overflows its own stack at thousands of nested values.
 */
function* documentsOf(text: string, { composer, lines, refuse }: Into) {
  const parser = new Parser(lines.addNewLine);
  lines.addNewLine(0);
  const faults = new LimitedFaults(composer);
  let tokens = 0;
  let sinceDocument = 0;
  try {
    for (const lexeme of new Lexer().lex(text)) {
      for (const token of parser.next(lexeme)) {
        if (token.type === 'error') faults.add(`${token.message}: ${JSON.stringify(token.source)}`, token.offset);
        if (token.type === 'document') sinceDocument = 0;
        yield* composer.next(token);
      }
      tokens += 1;
      sinceDocument += 1;
      const problem = problemOf(lexeme, parser.stack.length, sinceDocument);
      if (problem !== undefined) return refuse(problem, parser.offset);
      if (tokens % SLICE_TOKENS === 0) yield undefined;
    }
    for (const token of parser.end()) yield* composer.next(token);
    yield* composer.end();
  } catch (error) {
    if (error !== faults.tooMany) throw error;
    for (const { reason, at } of faults.all) refuse(reason, at);
  }
}

function problemOf(lexeme: string, nested: number, tokens: number): string | undefined {
  if (nested > MAX_NESTED) return `more than ${MAX_NESTED} nested values`;
  if (lexeme.length > MAX_TOKEN_CHARACTERS)
    return `a value or comment has more than ${MAX_TOKEN_CHARACTERS} characters`;
  if (tokens > MAX_TOKENS)
    return `the document has more than ${MAX_TOKENS} values, keys, signs and line breaks: divide it among several rules`;
  return undefined;
}

type OnError = (
  source: number | [number, number] | { offset: number },
  code: string,
  message: string,
  warning?: boolean,
) => void;

/** Interrupts the composer after MAX_FAULTS errors. */
class LimitedFaults {
  readonly all: { readonly reason: string; readonly at: number }[] = [];
  /** The error that interrupts the composer. */
  readonly tooMany = new Error('too many faults');

  constructor(composer: Composer) {
    const report = Reflect.get(composer, 'onError') as OnError;
    const limited: OnError = (source, code, message, warning) => {
      const at = typeof source === 'number' ? source : Array.isArray(source) ? source[0] : source.offset;
      this.add(message, at);
      report(source, code, message, warning);
    };
    Reflect.set(composer, 'onError', limited);
  }

  add(reason: string, at: number): void {
    this.all.push({ reason, at });
    if (this.all.length >= MAX_FAULTS) throw this.tooMany;
  }
}

const beginOf = (node: Node | undefined) => node?.range?.[0];

/** Numbers in another notation, such as 007, 1.10 or one of 20 digits, are strings: values are compared with strings. */
function keepText(node: Scalar): void {
  const { value, source } = node;
  if (typeof value === 'number' && source !== undefined && source !== String(value)) node.value = source;
}

/** Keys that occur earlier in the same map, including those that name the same member of an object. */
function repeatedKeys({ items }: YAMLMap): readonly Scalar[] {
  const names = new Set<string>();
  return items.flatMap(({ key }) => {
    if (!isScalar(key)) return [];
    keepText(key);
    const name = String(key.value ?? '');
    if (names.has(name)) return [key];
    names.add(name);
    return [];
  });
}

/** Start of the member at the end of a path, or of the last existing one on the path. */
function offsetOf(node: Node, path: readonly (string | number)[]): number | undefined {
  const [step, ...rest] = path;
  if (step === undefined) return node.range?.[0];
  const found = memberOf(node, step) ?? within(node, step);
  if (found === undefined) return node.range?.[0];
  return rest.length === 0 ? found.begin : (offsetOf(found.value, rest) ?? found.begin);
}

interface Member {
  readonly value: Node;
  readonly begin: number | undefined;
}

/** Members are found by their name, or by their field: `CommandLine` finds `CommandLine|contains`. */
function memberOf(node: Node, step: string | number): Member | undefined {
  if (isMap(node)) {
    const called = (is: (name: string) => boolean) =>
      node.items.find(({ key }) => is(isScalar(key) ? String(key.value) : ''));
    const found = called((name) => name === step) ?? called((name) => name.split('|', 1)[0] === step);
    if (found === undefined) return undefined;
    return { value: (found.value ?? found.key) as Node, begin: (found.key as Node).range?.[0] };
  }
  const item = isSeq(node) && typeof step === 'number' ? (node.items[step] as Node | undefined) : undefined;
  return item === undefined ? undefined : { value: item, begin: item.range?.[0] };
}

/** Some errors are found when the position of a field is no longer known: the first member with the name, at any depth. */
function within(node: Node, step: string | number): Member | undefined {
  const children = isMap(node) ? node.items.map(({ value }) => value) : isSeq(node) ? node.items : [];
  for (const child of children) {
    if (child === null) continue;
    const found = memberOf(child as Node, step) ?? within(child as Node, step);
    if (found !== undefined) return found;
  }
  return undefined;
}
