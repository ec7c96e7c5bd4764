import * as v from 'valibot';
import { type Duration, days, parseDuration, seconds } from '../../core/base/duration.ts';

/* Schemas for the members of requests and answers. */

/** An ISO 8601 duration of at least PT1S. @param max the maximum, as text and as a duration */
export const durationUpTo = ([spelt, max]: readonly [string, Duration], description: string) => {
  const message = `must be an ISO 8601 duration from PT1S to ${spelt}`;
  return v.pipe(
    v.string(message),
    v.maxLength(64, message),
    v.check((text) => parseDuration(text, seconds(1), max) !== undefined, message),
    v.description(description), // before the transformation, or the JSON Schema lacks it
    v.transform((text) => parseDuration(text) ?? seconds(1)),
  );
};

export const A_DAY = ['PT24H', days(1)] as const;

export const nothing = v.strictObject({});
export const text = (description: string) => v.pipe(v.string(), v.description(description));
export const time = (description: string) => v.pipe(v.string(), v.isoTimestamp(), v.description(description));
export const count = (description: string) => v.pipe(v.number(), v.integer(), v.description(description));
export const object = (description: string) => v.pipe(v.object({}), v.description(description));
