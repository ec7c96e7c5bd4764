import { nearestName } from '../base/nearest-name.ts';

/* Names in the desired properties that have no effect, although their writer may believe that they have one. */

/** A twin can hold thousands of names; this many are reported. */
export const MAX_STRAY_NAMES = 32;
/** Characters. A longer name is no misspelling, and comparing it would take long. */
export const LONGEST_COMPARED = 128;

/** Warnings by name. @param known to find the name that was probably meant */
export function unknownNames(
  names: readonly string[],
  known: readonly string[],
  max: number = MAX_STRAY_NAMES,
): Record<string, string> {
  const warnings = names.slice(0, max).map((name) => {
    const nearest = name.length > LONGEST_COMPARED ? undefined : nearestName(name, known);
    return [name, didYouMean('is not known to this agent', nearest)] as const;
  });
  return Object.fromEntries(warnings);
}

export const didYouMean = (what: string, name: string | undefined): string =>
  name === undefined ? what : `${what}; did you mean "${name}"?`;
