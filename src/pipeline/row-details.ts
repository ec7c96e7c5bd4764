import type { Payload } from '../contract/event.ts';

/** ExtraDetails, by name. */
export type Details = Readonly<Record<string, string>>;

/** A row's ExtraDetails; empty when it has none. */
export const detailsOf = (row: Payload): Details => (row.ExtraDetails ?? {}) as Details;

/** The row with `details` added to its ExtraDetails; they replace those of the same name. */
export const withDetails = (row: Payload, details: Details): Payload => ({
  ...row,
  ExtraDetails: { ...detailsOf(row), ...details },
});

/** The row without ExtraDetails; the row itself when it has none. */
export function withoutDetails(row: Payload): Payload {
  if (row.ExtraDetails === undefined) return row;
  const { ExtraDetails: _, ...bare } = row;
  return bare;
}
