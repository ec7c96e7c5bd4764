import * as v from 'valibot';
import { type Duration, days, formatDuration, milliseconds, parseDuration } from '../base/duration.ts';
import { PRIORITIES, type Priority } from './event.ts';
import { parseNetwork } from './ip-network.ts';

/* The kinds of values that settings have. Desired properties are hostile input, so every kind is bounded. Messages of
 * checks continue a sentence that begins with the setting's name: "… must be true or false". */

/** A value as written in JSON. */
export type Spelling = string | number | boolean | { readonly [member: string]: Spelling };

export interface Kind<Value> {
  /** Checks a spelling; its output is the value that the agent uses. */
  readonly schema: v.GenericSchema<Spelling, Value>;
  /** Type and range, as a phrase for the docs. */
  readonly range: string;
  /** The canonical spelling of a value. */
  spell(value: Value): Spelling;
  /** Every value, if there are only a few. */
  readonly choices?: readonly string[];
}

/** A kind for settings without a default. */
export interface OptionalKind<Value> extends Kind<Value | undefined> {
  readonly isOptional: true;
}

export const optional = <Value>(kind: Kind<Value>): OptionalKind<Value> => ({ ...kind, isOptional: true });

const kind = <Value>(
  schema: v.GenericSchema<Spelling, Value>,
  range: string,
  spell: (value: Value) => Spelling,
): Kind<Value> => ({ schema, range, spell });

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
    v.check(
      (text) => parseDuration(text) === undefined || parseDuration(text, shortest, longest) !== undefined,
      `must be from ${min} to ${max}`,
    ),
    v.description(description),
    v.transform((text): Duration => parseDuration(text) ?? shortest),
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
export const PRIORITY: Kind<Priority> = {
  ...kind(
    v.pipe(
      v.string('must be "High", "Low" or "Off"'),
      v.check((text) => Object.hasOwn(PRIORITY_OF, text.toLowerCase()), 'must be "High", "Low" or "Off"'),
      v.transform((text) => PRIORITY_OF[text.toLowerCase()] ?? 'Low'),
    ),
    'High, Low or Off',
    (priority) => priority,
  ),
  choices: PRIORITIES,
};

export const FLAG = kind(v.boolean('must be true or false'), 'true or false', (flag) => flag);

/** One of a list of names; compared without regard to case. */
export function choice<const N extends string>(names: readonly N[]): Kind<N> {
  const wrong = `must be ${names.slice(0, -1).join(', ')} or ${names.at(-1)}`;
  const named = (text: string) => names.find((name) => name.toLowerCase() === text.toLowerCase());
  const schema = v.pipe(
    v.string(wrong),
    v.check((text) => named(text) !== undefined, wrong),
    v.transform((text): N => named(text) ?? (names[0] as N)),
  );
  return { ...kind(schema, wrong.replace('must be ', ''), (name) => name), choices: names };
}

const printable = (max: number) =>
  v.pipe(
    v.string('must be a string'),
    v.maxLength(max, `must be at most ${max} characters`),
    v.regex(/^[\x20-\x7e]*$/, 'must be printable ASCII characters'),
  );

/** One line of printable ASCII. */
export const text = (max: number) =>
  kind(printable(max), `string of at most ${max} ASCII characters`, (value) => value);

/** Names joined with commas; spaces around names, empty names and duplicates are removed. */
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

const NOT_A_LIMIT = 'must be "" or a number and a duration, such as "100/PT5M"';

/** Maximum count per period, `100/PT5M`; empty: no limit. A list of at most one, like other lists that rules use. */
export const RATE = kind(
  v.pipe(
    v.string(NOT_A_LIMIT),
    v.maxLength(64, NOT_A_LIMIT),
    v.check((text) => text === '' || isRate(text), NOT_A_LIMIT),
    v.transform((text): readonly string[] => (text === '' ? [] : [text])),
  ),
  'number and ISO 8601 duration such as 100/PT5M, from 1 to 1000000 in at most P1D; or empty',
  ([rate = '']) => rate,
);

function isRate(text: string): boolean {
  const [count = '', duration = '', more] = text.split('/');
  if (more !== undefined || !/^[1-9]\d{0,6}$/.test(count) || Number(count) > 1_000_000) return false;
  return parseDuration(duration, milliseconds(1_000), days(1)) !== undefined;
}

const NOT_A_TIME = 'must be "" or an RFC 3339 time such as "2026-12-24T08:00:00Z"';
const RFC_3339 = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)$/;
const isTime = (text: string) => RFC_3339.test(text) && !Number.isNaN(Date.parse(text));

/** RFC 3339, section 5.6; or empty. */
export const TIME = kind(
  v.pipe(
    v.string(NOT_A_TIME),
    v.maxLength(64, NOT_A_TIME),
    v.check((text) => text === '' || isTime(text), NOT_A_TIME),
  ),
  'RFC 3339 time, or empty',
  (time) => time,
);

/** Maximum number of exceptions: each is matched against each hit, and reported as it was desired. */
const MAX_EXCEPTIONS = 64;
const exceptionText = v.pipe(v.string('must be a string'), v.maxLength(512, 'must be at most 512 characters'));
/** A network with a shorter prefix is too large a part of the Internet for an exception. */
const FEWEST_BITS = 8;
const MATCHES = ['equals', 'startsWith', 'endsWith', 'cidr'] as const;
const AlertException = v.pipe(
  v.strictObject({
    /** Id of a rule, or an alert type. */
    rule: exceptionText,
    /** A field of the event, with its name in rules or in payloads. */
    field: exceptionText,
    equals: v.optional(exceptionText),
    startsWith: v.optional(exceptionText),
    endsWith: v.optional(exceptionText),
    cidr: v.optional(
      v.pipe(
        exceptionText,
        v.check((text) => parseNetwork(text) !== undefined, 'must be an address or a network such as "10.0.0.0/8"'),
        v.check(
          (text) => (parseNetwork(text)?.prefix ?? 0) >= FEWEST_BITS,
          `must be at most a network of /${FEWEST_BITS}`,
        ),
      ),
    ),
    /** If omitted, the exception never expires. */
    until: v.optional(v.pipe(exceptionText, v.check(isTime, 'must be an RFC 3339 time'))),
    comment: v.optional(exceptionText),
  }),
  v.check(
    (exception) => MATCHES.filter((match) => exception[match] !== undefined).length === 1,
    `must have one of ${MATCHES.join(', ')}`,
  ),
  v.check(
    ({ field, startsWith, endsWith }) =>
      [startsWith, endsWith].every((text) => text === undefined || !isPath(field, text) || componentsOf(text) >= 2),
    'must have at least two components in startsWith and endsWith of paths, such as "/opt/backup"',
  ),
);

const isPath = (field: string, text: string) =>
  text === '' || text.startsWith('/') || /(Image|Executable|Directory|Filename|Target)$/.test(field);

const componentsOf = (path: string) => path.split('/').filter((component) => component !== '').length;

/** Hits of a detection rule that an operator declares harmless: they raise no alert. */
export type AlertException = Readonly<v.InferOutput<typeof AlertException>>;

/** Fields with few values, of which all hits of a rule share one, or nearly all. */
const SHARED_FIELDS: readonly string[] = [
  ...['Event', 'Device', 'Change', 'type', 'Result', 'Kind', 'Direction', 'Initiated', 'Protocol', 'State', 'Action'],
  ...['Enabled', 'Source', 'HardwareCategory'],
];

/** Whether nearly everything matches: such an exception silences its rule. */
export const isBroad = ({ field }: Pick<AlertException, 'field'>): boolean => SHARED_FIELDS.includes(field);

const NOT_EXCEPTIONS = 'must be an object of exceptions by their ids';
const exceptionId = v.pipe(
  v.string(),
  v.regex(/^[\w-]{1,64}$/, 'must have ids of 1 to 64 letters, digits, "_" and "-"'),
);
/** Valibot's `record` silently omits members with these names. */
const LEFT_OUT = ['__proto__', 'constructor', 'prototype'];

/** Its input is JSON, which the type of optional members doesn't express. */
const Exceptions = v.pipe(
  v.custom<Readonly<Record<string, unknown>>>(
    (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
    NOT_EXCEPTIONS,
  ),
  v.check(
    (all) => !LEFT_OUT.some((id) => Object.hasOwn(all, id)),
    `must have other ids than ${LEFT_OUT.slice(0, -1).join(', ')} and ${LEFT_OUT.at(-1)}`,
  ),
  v.record(exceptionId, AlertException, NOT_EXCEPTIONS),
  v.check((all) => Object.keys(all).length <= MAX_EXCEPTIONS, `must have at most ${MAX_EXCEPTIONS} members`),
  v.check((all) => Buffer.byteLength(JSON.stringify(all)) <= 8_192, 'must be at most 8192 bytes of JSON'),
) as unknown as v.GenericSchema<Spelling, Readonly<Record<string, AlertException>>>;

/** Keyed by the exception's id. */
export const EXCEPTIONS = kind(
  Exceptions,
  `object: id → {rule, field, equals, startsWith, endsWith or cidr, until?, comment?}, at most ${MAX_EXCEPTIONS} members and 8192 bytes`,
  (exceptions) => exceptions as unknown as Spelling,
);

const NOT_A_DIGEST = 'must be a SHA-256 digest of 64 hexadecimal digits';

/** In lower case, however it was spelt. */
export const SHA256 = kind(
  v.pipe(v.string(NOT_A_DIGEST), v.regex(/^[0-9a-fA-F]{64}$/, NOT_A_DIGEST), v.toLowerCase()),
  '64 hexadecimal digits',
  (digest) => digest,
);

/** The same, or empty. */
export const SHA256_OR_NONE = kind(
  v.pipe(v.string(NOT_A_DIGEST), v.regex(/^(?:[0-9a-fA-F]{64})?$/, `${NOT_A_DIGEST}, or ""`), v.toLowerCase()),
  '64 hexadecimal digits, or empty',
  (digest) => digest,
);
