/** A set of UTF-16 code units: pairs of first and last, in order, not adjacent. */
export type Ranges = readonly (readonly [number, number])[];

const LAST = 0xffff;

export const one = (code: number): Ranges => [[code, code]];

/** The ranges as a set in normal form. */
export function union(...all: readonly Ranges[]): Ranges {
  const sorted = all.flat().sort((a, b) => a[0] - b[0]);
  const merged: [number, number][] = [];
  for (const [from, to] of sorted) {
    const last = merged.at(-1);
    if (last !== undefined && from <= last[1] + 1) last[1] = Math.max(last[1], to);
    else merged.push([from, to]);
  }
  return merged;
}

export function not(ranges: Ranges): Ranges {
  const rest: [number, number][] = [];
  let next = 0;
  for (const [from, to] of union(ranges)) {
    if (from > next) rest.push([next, from - 1]);
    next = to + 1;
  }
  if (next <= LAST) rest.push([next, LAST]);
  return rest;
}

export const has = (ranges: Ranges, code: number): boolean => ranges.some(([from, to]) => code >= from && code <= to);

/**
 * The code unit that stands for all that differ from it only in case, as ECMA-262 says for the flag `i` (Canonicalize):
 * one unit for one, and never an ASCII character for another, so that `ſ` or `K` (Kelvin) is not a letter of a command.
 */
export function foldCode(code: number): number {
  if (code < 128) return code >= 97 && code <= 122 ? code - 32 : code;
  let folded = known[code] as number;
  if (folded === 0) {
    const upper = String.fromCharCode(code).toUpperCase();
    folded = upper.length === 1 && upper.charCodeAt(0) >= 128 ? upper.charCodeAt(0) : code;
    known[code] = folded;
  }
  return folded;
}

/** Folded unit, keyed by unit beyond ASCII; 0 if not computed yet. */
const known = new Uint16Array(LAST + 1);

/** Returns the same string, of unchanged length, for strings that differ only in case. See {@link foldCode}. */
export function fold(text: string): string {
  if (isAscii(text)) return text.toUpperCase();
  const codes = new Uint16Array(text.length);
  for (let at = 0; at < text.length; at += 1) codes[at] = foldCode(text.charCodeAt(at));
  let folded = '';
  for (let at = 0; at < codes.length; at += MAX_AT_ONCE)
    folded += String.fromCharCode(...codes.subarray(at, at + MAX_AT_ONCE));
  return folded;
}

/** Arguments of a call. */
const MAX_AT_ONCE = 4_096;

const ASCII = /^[\0-\x7f]*$/;
const isAscii = (text: string) => ASCII.test(text);

let nonAscii: ReadonlyMap<number, readonly number[]> | undefined;

/** Code units beyond ASCII that differ only in case, by the unit they fold to; made when it is first needed. */
function equivalents(): ReadonlyMap<number, readonly number[]> {
  if (nonAscii !== undefined) return nonAscii;
  const all = new Map<number, number[]>();
  for (let code = 128; code <= LAST; code += 1) {
    const folded = foldCode(code);
    if (folded === code) continue;
    const known = all.get(folded);
    if (known === undefined) all.set(folded, [folded, code]);
    else known.push(code);
  }
  nonAscii = all;
  return all;
}

/** Adds whatever differs from a member only in case. */
export function withCase(ranges: Ranges): Ranges {
  const more: [number, number][] = [];
  for (const [from, to] of ranges) {
    for (let code = Math.max(from, 65); code <= Math.min(to, 90); code += 1) more.push([code + 32, code + 32]);
    for (let code = Math.max(from, 97); code <= Math.min(to, 122); code += 1) more.push([code - 32, code - 32]);
  }
  if (ranges.some(([, to]) => to >= 128)) {
    for (const same of equivalents().values()) {
      if (same.some((code) => has(ranges, code))) for (const code of same) more.push([code, code]);
    }
  }
  return union(ranges, more);
}

export const DIGITS: Ranges = [[48, 57]];
export const WORDS: Ranges = [
  [48, 57],
  [65, 90],
  [95, 95],
  [97, 122],
];
/** White space and line terminators of ECMA-262. */
export const BLANKS: Ranges = union(
  [
    [9, 13],
    [32, 32],
    [0xa0, 0xa0],
    [0x1680, 0x1680],
    [0x2000, 0x200a],
    [0x2028, 0x2029],
  ],
  [
    [0x202f, 0x202f],
    [0x205f, 0x205f],
    [0x3000, 0x3000],
    [0xfeff, 0xfeff],
  ],
);
export const LINE_ENDS: Ranges = [
  [10, 10],
  [13, 13],
  [0x2028, 0x2029],
];
export const ANY: Ranges = [[0, LAST]];
