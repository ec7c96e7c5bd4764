/* The types of rules' parameters. */

import * as v from 'valibot';
import { compilePattern } from '../pattern/pattern.ts';
import { IF_MISSING } from './verdict.ts';

const LONGEST_TEXT = 500;
const MAX_ITEMS = 100;

export const text = v.pipe(v.string(), v.nonEmpty(), v.maxLength(LONGEST_TEXT));

export const listOf = <S extends v.GenericSchema>(item: S) =>
  v.pipe(v.array(item), v.minLength(1), v.maxLength(MAX_ITEMS));

export const texts = listOf(text);

/** An absolute path without `..`; `*`, `?` and `[a-z]` are wildcards where the primitive allows them. */
export const path = v.pipe(
  text,
  v.regex(/^\/(?!.*(?:^|\/)\.\.(?:\/|$))[^\0]*$/, 'is not an absolute path, or contains ".."'),
);
export const paths = listOf(path);

/** A path relative to a folder, without `..`. */
export const relativePath = v.pipe(
  text,
  v.regex(/^(?!\/)(?!.*(?:^|\/)\.\.(?:\/|$))[^\0]+$/, 'is not a relative path, or contains ".."'),
);

/** Permission bits in octal, as chmod(1) takes them: `0644`. */
export const mode = v.pipe(v.string(), v.regex(/^[0-7]{4}$/, 'is not a mode of four octal digits'));

export const ifMissing = v.picklist(IF_MISSING);

/** A pattern for lines; its syntax is in pattern.ts. */
export const pattern = v.pipe(
  text,
  v.rawCheck(({ dataset, addIssue }) => {
    if (!dataset.typed) return;
    const compiled = compilePattern(dataset.value);
    if ('problem' in compiled) addIssue({ message: compiled.problem });
  }),
);

export const integer = v.pipe(v.number(), v.safeInteger());
export const count = v.pipe(integer, v.minValue(0));

/** A mode as a number. */
export const bits = (octal: string): number => Number.parseInt(octal, 8);
export const octal = (mode: number): string => (mode & 0o7777).toString(8).padStart(4, '0');
