import { parseNetwork } from '../../../core/contract/ip-network.ts';
import { compilePattern } from '../../pattern/pattern.ts';
import { checkList } from './facts.ts';
import { withFragments } from './fragments.ts';
import {
  type Expression,
  type Place,
  Refused,
  type Test,
  type TextTest,
  together,
  type Wildcards,
  within,
} from './rule.ts';

/** Range of a text that expressions see; see engine/README: 6 KB of the head, a line end, 2 KB of the tail. */
export const MATCHED_RANGE = { head: 6_144, tail: 2_048 };
/** Maximum alternatives of one value, such as those of windash. */
const MAX_VARIANTS = 625;
const MAX_VALUES = 2_000;
/** Maximum alternatives of all values of a file, in addition to the values themselves. */
const MAX_VARIANTS_OF_FILE = 10_000;

/** State while a file is read. */
export class Reading {
  readonly literals: KnownLiterals | undefined;
  #variants = 0;

  constructor(literals?: KnownLiterals) {
    this.literals = literals;
  }

  get isOver(): boolean {
    return this.#variants > MAX_VARIANTS_OF_FILE;
  }

  /** @param count number of alternatives of one value @throws {Refused} if the file has too many */
  made(count: number): void {
    this.#variants += count - 1;
    if (this.isOver)
      throw new Refused(
        `the file has more than ${MAX_VARIANTS_OF_FILE} spellings of values, by "windash" and "base64offset"`,
      );
  }
}

const PLACES: Readonly<Record<string, Place>> = { contains: 'contains', startswith: 'begins', endswith: 'ends' };
const COMPARISONS = ['lt', 'lte', 'gt', 'gte'] as const;
const KINDS = ['re', 'cidr', 'exists', 'fieldref', ...COMPARISONS];
const FLAGS = ['i', 'm', 's'];
const OTHERS = ['all', 'cased', 'base64', 'base64offset', 'windash', 'neq', 'expand'];

/** Literals of expressions that were compiled before, keyed by the `key` of their tests; `later`: computed on demand. */
export type KnownLiterals = ReadonlyMap<string, readonly string[] | undefined> | 'later';

interface Modifiers {
  has(name: string): boolean;
  readonly all: readonly string[];
  readonly reading: Reading;
}
type Value = string | number | boolean | null;

/** Reads a member of a selection: `Field|modifiers: values`. @param field empty for keywords @throws {Refused} */
export function readMember(field: string, modifiers: readonly string[], given: unknown, reading: Reading): Expression {
  const checkedModifiers = checked(modifiers, field === '');
  const values = Array.isArray(given) ? given : [given];
  if (values.length === 0) throw new Refused(`"${field}" has no values`);
  if (values.length > MAX_VALUES) throw new Refused(`"${field}" has more than ${MAX_VALUES} values`);
  if (checkedModifiers.has('all') && values.length < 2 && !Array.isArray(given))
    throw new Refused(`"${field}|all" has a single value, so "all" has no effect`);
  const of = values.map((value, index) => () => {
    const read = (): Expression => {
      if (reading.isOver) return { is: 'or', of: [] }; // the file is already rejected
      const tests = testsOf(value, { has: (name) => checkedModifiers.has(name), all: modifiers, reading });
      reading.made(tests.length);
      return either(tests.map((test) => expressionOf(field, test)));
    };
    return Array.isArray(given) ? within([index], read) : read();
  });
  const tests = together(of);
  const whole: Expression = checkedModifiers.has('all') ? both(tests) : either(tests);
  return checkedModifiers.has('neq') ? { is: 'not', of: whole } : whole;
}

function expressionOf(field: string, test: Test): Expression {
  if (field !== '') return { is: 'field', field, test };
  if (test.is !== 'text' && test.is !== 'wildcards') throw new Refused('a keyword must be a string');
  return { is: 'keyword', test };
}

const joined = (is: 'and' | 'or', of: readonly Expression[]): Expression => {
  const [only] = of;
  return of.length === 1 && only !== undefined ? only : { is, of };
};
export const either = (of: readonly Expression[]): Expression => joined('or', of);
export const both = (of: readonly Expression[]): Expression => joined('and', of);

function checked(modifiers: readonly string[], isKeyword: boolean): ReadonlySet<string> {
  const set = new Set(modifiers);
  const known = [...Object.keys(PLACES), ...KINDS, ...FLAGS, ...OTHERS];
  for (const modifier of set) {
    if (!known.includes(modifier)) throw new Refused(`the modifier "${modifier}" is not known`);
  }
  if (set.size < modifiers.length) throw new Refused('a modifier is given twice');
  const of = (names: readonly string[]) => names.filter((name) => set.has(name));
  const refuse = (names: readonly string[]) => {
    throw new Refused(`the modifiers ${names.map((name) => `"${name}"`).join(' and ')} cannot be combined`);
  };
  const places = of(Object.keys(PLACES));
  const kinds = of(KINDS);
  if (places.length > 1) refuse(places);
  if (kinds.length > 1) refuse(kinds);
  if (places.length > 0 && kinds.some((kind) => kind !== 'fieldref')) refuse([...places, ...kinds]);
  if (!set.has('re') && of(FLAGS).length > 0)
    throw new Refused(`the modifier "${of(FLAGS)[0]}" is only valid after "re"`);
  if (kinds.length > 0 && of(['base64', 'base64offset', 'windash']).length > 0)
    refuse([...kinds, ...of(['base64', 'base64offset', 'windash'])]);
  if (set.has('base64') && set.has('base64offset')) refuse(['base64', 'base64offset']);
  if (set.has('cased') && kinds.some((kind) => kind !== 'fieldref')) refuse([...kinds, 'cased']);
  if (set.has('expand') && of(['exists', 'fieldref']).length > 0) refuse([...of(['exists', 'fieldref']), 'expand']);
  if (isKeyword && kinds.length > 0) refuse(['keywords', ...kinds]);
  return set;
}

/** A list reference within other text, in which `\%` is a percent sign. */
const PLACEHOLDER = /^((?:[^%]|(?<=\\)%)*)(?<!\\)%([A-Za-z_][\w.-]*)%((?:[^%]|(?<=\\)%)*)$/;
const withPercents = (text: string): string => text.replaceAll('\\%', '%');

function testsOf(value: unknown, modifiers: Modifiers): readonly Test[] {
  if (typeof value === 'object' && value !== null) throw new Refused('a value is a map or a list');
  if (value === undefined) throw new Refused('a value is missing');
  const scalar = value as Value;
  if (modifiers.has('exists')) {
    if (typeof scalar !== 'boolean') throw new Refused('"exists" takes true or false');
    return [{ is: 'exists', exists: scalar }];
  }
  if (scalar === null) {
    const senseless = modifiers.all.filter((modifier) => !['all', 'neq', 'cased'].includes(modifier));
    if (senseless.length > 0) throw new Refused(`the modifier "${senseless[0]}" has null as its value`);
    return [{ is: 'exists', exists: false }];
  }
  const text = String(scalar);
  if (modifiers.has('expand') && modifiers.has('re')) return plainTests(withFragments(text), modifiers);
  if (modifiers.has('expand')) {
    const list = PLACEHOLDER.exec(text);
    if (list === null) {
      if (!text.includes('\\%') || /(?<!\\)%[A-Za-z_][\w.-]*%/.test(text))
        throw new Refused('"expand" takes a placeholder such as %list%, one in a value');
      return plainTests(withPercents(text), modifiers);
    }
    const [before = '', name = '', after = ''] = list.slice(1).map(withPercents);
    checkList(name);
    const read = (entry: string): Test | undefined => {
      try {
        const tests = plainTests(before + entry + after, modifiers);
        return tests.length === 1 ? tests[0] : undefined;
      } catch (error) {
        if (error instanceof Refused) return undefined;
        throw error;
      }
    };
    if (modifiers.has('windash') || modifiers.has('base64offset'))
      throw new Refused('"expand" cannot be combined with "windash" or "base64offset"');
    return [{ is: 'list', list: name, read }];
  }
  return plainTests(text, modifiers);
}

/** Tests of which one must match. */
function plainTests(text: string, modifiers: Modifiers): readonly Test[] {
  if (modifiers.has('re')) return [patternTest(text, modifiers)];
  if (modifiers.has('cidr')) {
    const network = parseNetwork(text.trim());
    if (network === undefined) throw new Refused(`"${text}" is not a network such as 192.168.0.0/16`);
    return [{ is: 'network', network }];
  }
  const compare = COMPARISONS.find((name) => modifiers.has(name));
  if (compare !== undefined) {
    const than = Number(text);
    if (text.trim() === '' || !Number.isFinite(than)) throw new Refused(`"${compare}" takes a number, not "${text}"`);
    return [{ is: 'number', compare, than }];
  }
  const cased = modifiers.has('cased');
  const place = placeOf(modifiers);
  if (modifiers.has('fieldref')) return [{ is: 'field', other: text, place, cased }];
  let texts: readonly string[] = [text];
  if (modifiers.has('windash')) texts = texts.flatMap(withDashes);
  if (!modifiers.has('base64') && !modifiers.has('base64offset'))
    return texts.map((each) => textTest(readWildcards(each), place, cased));
  const encode = modifiers.has('base64') ? base64 : base64Offsets;
  const encoded = texts.map(plainText).flatMap(encode);
  if (encoded.includes('')) throw new Refused(`"${text}" is too short to be searched for in Base64`);
  return encoded.map((each) => ({ is: 'text', place, text: each, cased }));
}

const placeOf = (modifiers: Modifiers): Place =>
  Object.entries(PLACES).find(([name]) => modifiers.has(name))?.[1] ?? 'is';

function patternTest(source: string, modifiers: Modifiers): Test {
  const flags = { i: modifiers.has('i'), m: modifiers.has('m'), s: modifiers.has('s') };
  const key = literalsKey(source, flags);
  const known = modifiers.reading.literals;
  const pattern = compilePattern(source, {
    wide: true,
    ...flags,
    ...(known === 'later' ? { known } : known?.has(key) === true ? { known: { literals: known.get(key) } } : {}),
    longestLine: MATCHED_RANGE.head + 1 + MATCHED_RANGE.tail,
  });
  if ('problem' in pattern) throw new Refused(`the expression is not supported: ${pattern.problem}`);
  return { is: 'pattern', pattern, source, key };
}

const literalsKey = (source: string, { i, m, s }: { i: boolean; m: boolean; s: boolean }): string =>
  `${i ? 'i' : ''}${m ? 'm' : ''}${s ? 's' : ''}:${source}`;

/**
 * `*` and `?` are wildcards unless escaped by a backslash. Two backslashes before a wildcard or another backslash stand for one;
 * any other backslash stands for itself.
 */
export function readWildcards(text: string): Wildcards {
  const parts: (string | null | 1)[] = [];
  let plain = '';
  const end = () => {
    if (plain !== '') parts.push(plain);
    plain = '';
  };
  for (let at = 0; at < text.length; at += 1) {
    const char = text.charAt(at);
    const next = text.charAt(at + 1);
    if (char === '\\' && (next === '*' || next === '?' || next === '\\')) {
      plain += next;
      at += 1;
    } else if (char === '*') {
      end();
      if (parts.at(-1) !== null) parts.push(null);
    } else if (char === '?') {
      end();
      parts.push(1);
    } else plain += char;
  }
  end();
  return parts;
}

/** A string without wildcards, because it will be encoded. */
function plainText(text: string): string {
  const parts = readWildcards(text);
  const [only = ''] = parts;
  if (parts.length > 1 || typeof only !== 'string') throw new Refused('an encoded value has wildcards');
  return only;
}

/** A value with its wildcards; most are literal strings at a fixed position. */
function textTest(read: Wildcards, place: Place, cased: boolean): TextTest {
  const before = place === 'contains' || place === 'ends' ? [null] : [];
  const after = place === 'contains' || place === 'begins' ? [null] : [];
  const parts = [...before, ...read, ...after].filter((part, index, all) => part !== null || all[index - 1] !== null);
  const texts = parts.filter((part): part is string => typeof part === 'string');
  if (texts.length <= 1 && !parts.includes(1)) {
    const [text = ''] = texts;
    const [begins, ends] = [parts[0] === null, parts.length > 1 && parts.at(-1) === null];
    if (texts.length === 1 || parts.length === 0)
      return { is: 'text', place: begins ? (ends ? 'contains' : 'ends') : ends ? 'begins' : 'is', text, cased };
    return { is: 'text', place: 'contains', text: '', cased }; // `*`: any text
  }
  return { is: 'wildcards', parts, cased };
}

const DASHES = ['-', '/', '–', '—', '―'];

/** A dash that starts an option: before a word or more dashes, and not after one. */
const DASH = /(?<![\p{L}\p{N}_\-/–—―])[-/–—―](?=[\p{L}\p{N}_-])/u;

/** The value with each option's dash or slash replaced by each of the dashes that Windows programs accept. */
function withDashes(text: string): readonly string[] {
  const pieces = text.split(DASH);
  let texts = [pieces[0] ?? ''];
  for (const piece of pieces.slice(1)) {
    texts = texts.flatMap((begin) => DASHES.map((dash) => begin + dash + piece));
    if (texts.length > MAX_VARIANTS) throw new Refused('"windash" has too many dashes in one value');
  }
  return texts;
}

const base64 = (text: string): readonly string[] => [Buffer.from(text).toString('base64')];

/** The base64 of a string within a longer one, at each of the three offsets, without characters that depend on its neighbours. */
function base64Offsets(text: string): readonly string[] {
  const bytes = Buffer.from(text);
  return [0, 1, 2].map((offset) => {
    const encoded = Buffer.concat([Buffer.alloc(offset), bytes])
      .toString('base64')
      .replace(/=+$/, '');
    const begin = [0, 2, 3][offset] ?? 0;
    const left = (offset + bytes.length) % 3;
    return encoded.slice(begin, left === 0 ? undefined : -1);
  });
}
