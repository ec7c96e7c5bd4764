import type { PartDetails, Payload } from '../../core/contract/event.ts';

/** ExtraDetails, by name. */
export type Details = Readonly<Record<string, string>>;

/** A row's ExtraDetails; empty when it has none. */
export const detailsOf = (row: Payload): Details => (row.ExtraDetails ?? {}) as Details;

/** The row with `details` added to its ExtraDetails; they replace those of the same name. */
export const withDetails = (row: Payload, details: Details): Payload => ({
  ...row,
  ExtraDetails: { ...detailsOf(row), ...details },
});

/**
 * The row without ExtraDetails, except for those that say which part of a snapshot the row belongs to. The row itself when
 * it has no others.
 */
export function withoutDetails(row: Payload): Payload {
  if (row.ExtraDetails === undefined) return row;
  const { ExtraDetails: _, ...bare } = row;
  const { Part, Parts, SnapshotId, ...others } = detailsOf(row);
  if (Part === undefined || Parts === undefined || SnapshotId === undefined) return bare;
  const label: PartDetails = { Part, Parts, SnapshotId };
  return Object.keys(others).length === 0 ? row : { ...bare, ExtraDetails: label };
}
