import * as v from 'valibot';
import { type Duration, formatDuration, milliseconds, parseDuration } from '../base/duration.ts';
import type { Priority } from './event.ts';

/* The kinds of values that settings have. Desired properties are hostile input, so every kind is bounded. Messages of
 * checks continue a sentence that begins with the setting's name: "… must be true or false". */

/** A value as written in JSON. */
export type Spelling = string | number | boolean | { readonly [member: string]: Spelling };

export interface Kind<S extends v.GenericSchema<Spelling, unknown>> {
  /** Checks a spelling; its output is the value that the agent uses. */
  readonly schema: S;
  /** Type and range, as a phrase for the docs. */
  readonly range: string;
  /** The canonical spelling of a value. */
  spell(value: v.InferOutput<S>): Spelling;
}

const kind = <S extends v.GenericSchema<Spelling, unknown>>(
  schema: S,
  range: string,
  spell: Kind<S>['spell'],
): Kind<S> => ({ schema, range, spell });

/**
 * An ISO 8601 duration.
 *
 * @param min the range, both ends included, as ISO 8601 durations
 * @param example for the message
 * @param description for the docs. It must come before the transformation, or the JSON schema of the input lacks it.
 */
export function durationSchema(min: string, max: string, example: string, description: string) {
  const wrong = `must be an ISO 8601 duration such as "${example}"`;
  const shortest = parseDuration(min) ?? milliseconds(1);
  const longest = parseDuration(max) ?? shortest;
  return v.pipe(
    v.string(wrong),
    v.maxLength(64, 'must be an ISO 8601 duration of at most 64 characters'),
    v.check((text) => parseDuration(text) !== undefined, wrong),
    v.description(description),
    v.transform((text): Duration => parseDuration(text) ?? shortest),
    v.check((span) => span >= shortest && span <= longest, `must be from ${min} to ${max}`),
  );
}

const RANGE = 'ISO 8601 duration from PT1S to P365D';
export const DURATION = kind(durationSchema('PT1S', 'P365D', 'PT7M', RANGE), RANGE, formatDuration);

/** A count of bytes. */
export function bytes(min: number, max?: number) {
  const range = max === undefined ? `of at least ${min}` : `from ${min} to ${max}`;
  const wrong = `must be an integer ${range}`;
  const schema = v.pipe(
    v.number(wrong),
    v.safeInteger(wrong),
    v.minValue(min, wrong),
    v.maxValue(max ?? Number.MAX_SAFE_INTEGER, wrong),
  );
  return kind(schema, `integer ${range}`, (value) => value);
}

const PRIORITY_OF: Readonly<Record<string, Priority>> = { high: 'High', low: 'Low', off: 'Off' };

/** Compared without regard to case. */
export const PRIORITY = kind(
  v.pipe(
    v.string('must be "High", "Low" or "Off"'),
    v.check((text) => Object.hasOwn(PRIORITY_OF, text.toLowerCase()), 'must be "High", "Low" or "Off"'),
    v.transform((text) => PRIORITY_OF[text.toLowerCase()] ?? 'Low'),
  ),
  'High, Low or Off',
  (priority) => priority,
);

export const FLAG = kind(v.boolean('must be true or false'), 'true or false', (flag) => flag);

const printable = (max: number) =>
  v.pipe(
    v.string('must be a string'),
    v.maxLength(max, `must be at most ${max} characters`),
    v.regex(/^[\x20-\x7e]*$/, 'must be printable ASCII characters'),
  );

/** One line of printable ASCII. */
export const text = (max: number) =>
  kind(printable(max), `string of at most ${max} ASCII characters`, (value) => value);

/** Names joined with commas; blanks around names, empty names and duplicates are removed. */
export const NAMES = kind(
  v.pipe(
    // Bounded, since the reported properties contain it twice: in the mirror, and as an exception in force.
    printable(2048),
    v.transform((list): readonly string[] => [
      ...new Set(
        list
          .split(',')
          .map((name) => name.trim())
          .filter((name) => name !== ''),
      ),
    ]),
  ),
  'names joined with ",", at most 2048 ASCII characters',
  (list) => list.join(','),
);

export const PATH = kind(
  v.pipe(
    printable(1024),
    v.check((path) => path.startsWith('/') && !path.split('/').includes('..'), 'must be an absolute path without ".."'),
  ),
  'absolute path without ".."',
  (path) => path,
);

const NOT_A_DIGEST = 'must be a SHA-256 digest of 64 hexadecimal digits';

/** In lower case, however it was spelt. */
export const SHA256 = kind(
  v.pipe(v.string(NOT_A_DIGEST), v.regex(/^[0-9a-fA-F]{64}$/, NOT_A_DIGEST), v.toLowerCase()),
  '64 hexadecimal digits',
  (digest) => digest,
);
