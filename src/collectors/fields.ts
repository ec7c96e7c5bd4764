import * as v from 'valibot';

/* Kinds of payload fields, so that an event's declaration reads as a list of names and meanings. */

export const text = (description: string) => v.pipe(v.string(), v.description(description));

export const integer = (description: string) => v.pipe(v.number(), v.integer(), v.description(description));

export const oneOf = <const T extends readonly string[]>(values: T, description: string) =>
  v.pipe(v.picklist(values), v.description(description));

/** The one field every event may have: whatever has no field of its own, as names and texts. */
export const extraDetails = (description: string) =>
  v.optional(v.pipe(v.record(v.string(), v.string()), v.description(description)));

/** ExtraDetails without what is undefined; nothing at all when that leaves none. */
export function details(facts: Readonly<Record<string, string | undefined>>): {
  ExtraDetails?: Record<string, string>;
} {
  let known: Record<string, string> | undefined;
  // Not by Object.entries: this runs for every event, and lists of pairs are most of what it would leave behind.
  for (const name in facts) {
    const fact = facts[name];
    if (fact === undefined) continue;
    known ??= {};
    known[name] = fact;
  }
  return known === undefined ? {} : { ExtraDetails: known };
}
