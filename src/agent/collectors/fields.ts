import * as v from 'valibot';

/* Schemas of payload fields. */

export const text = (description: string) => v.pipe(v.string(), v.description(description));

export const integer = (description: string) => v.pipe(v.number(), v.integer(), v.description(description));

export const oneOf = <const T extends readonly string[]>(values: T, description: string) =>
  v.pipe(v.picklist(values), v.description(description));

/** ExtraDetails, a map of strings that every event may have, for facts without a field of their own. */
export const extraDetails = (description: string) =>
  v.optional(v.pipe(v.record(v.string(), v.string()), v.description(description)));

/** ExtraDetails from the defined facts, or an empty object. */
export function details(facts: Readonly<Record<string, string | undefined>>): {
  ExtraDetails?: Record<string, string>;
} {
  let known: Record<string, string> | undefined;
  // Not Object.entries: this runs for every event, and the arrays would be most of the garbage.
  for (const name in facts) {
    const fact = facts[name];
    if (fact === undefined) continue;
    known ??= {};
    known[name] = fact;
  }
  return known === undefined ? {} : { ExtraDetails: known };
}
