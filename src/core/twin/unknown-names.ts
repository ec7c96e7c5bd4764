import { nearestName } from '../base/nearest-name.ts';

/* Names in the desired properties that have no effect, although their writer may believe that they have one. */

/** A twin can hold thousands of names; this many are reported. */
export const MAX_UNKNOWN_NAMES = 32;
/** In characters. A longer name is not a misspelling, and comparing it would be slow. */
export const LONGEST_COMPARED = 128;
/** Reported characters of a name at each end: an attacker who writes the twin must not fill the reported section with names. */
const REPORTED = { first: 48, last: 16 } as const;

/** Warnings by name. @param known to find the name that was probably meant */
export function unknownNames(
  names: readonly string[],
  known: readonly string[],
  max: number = MAX_UNKNOWN_NAMES,
): Record<string, string> {
  const warnings = names.slice(0, max).map((name) => {
    const nearest = name.length > LONGEST_COMPARED ? undefined : nearestName(name, known);
    return [shortened(name), didYouMean('is not known to this agent', nearest)] as const;
  });
  return Object.fromEntries(warnings);
}

/** A name as it is reported. */
export function shortened(name: string): string {
  const { first, last } = REPORTED;
  return name.length > first + last ? `${name.slice(0, first)}…${name.slice(-last)}` : name;
}

export const didYouMean = (what: string, name: string | undefined): string =>
  name === undefined ? what : `${what}; did you mean "${name}"?`;
