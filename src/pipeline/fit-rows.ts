import type { Clock } from '../base/clock.ts';
import { Turn } from '../base/turn.ts';
import type { Payload } from '../contract/event.ts';
import { withDetails, withoutDetails } from './row-details.ts';

/** The rows of a snapshot that are sent, and what of it isn't. */
export interface FittedRows {
  readonly rows: readonly Payload[];
  readonly omittedRows: number;
  /** Rows that lost their ExtraDetails, but are there. */
  readonly omittedDetails: number;
}

/** Of the room, for rows with their ExtraDetails, before others are kept without. */
const SHARE_OF_DETAILS = 0.5;

/**
 * Chooses what of a snapshot fits into a message. The first rows matter most: they are kept with all they say, as far as
 * half of the room goes; of the others the ExtraDetails go first, then rows from the end.
 *
 * Takes the time that it takes to write each row once, and lets others go on meanwhile.
 *
 * @param roomBytes for the rows as JSON, with a comma between them
 * @param extraBytes that each row may still grow by
 */
export async function fitRows(
  rows: readonly Payload[],
  roomBytes: number,
  extraBytes: number,
  clock: Clock,
): Promise<FittedRows> {
  const turn = new Turn(clock);
  const full: number[] = [];
  const bare: number[] = [];
  let total = 0;
  for (const row of rows) {
    const size = sizeOf(row) + extraBytes;
    full.push(size);
    bare.push(row.ExtraDetails === undefined ? size : sizeOf(withoutDetails(row)) + extraBytes);
    total += size;
    if (turn.isOver()) await turn.next();
  }
  if (total <= roomBytes) return { rows, omittedRows: 0, omittedDetails: 0 };
  const bareBytes = bare.reduce((all, size) => all + size, 0);
  const room = bareBytes <= roomBytes ? roomBytes : roomBytes * SHARE_OF_DETAILS;
  // What the rows behind the detailed ones take at least, where all of them fit without details.
  let behind = bareBytes <= roomBytes ? bareBytes : 0;
  let used = 0;
  const kept: Payload[] = [];
  let index = 0;
  for (; index < rows.length; index += 1) {
    const size = full[index] ?? 0;
    behind -= bareBytes <= roomBytes ? (bare[index] ?? 0) : 0;
    if (used + size + behind > room) break;
    used += size;
    kept.push(rows[index] as Payload);
  }
  let omittedDetails = 0;
  for (; index < rows.length; index += 1) {
    const row = rows[index] as Payload;
    const size = bare[index] ?? 0;
    if (used + size > roomBytes) break;
    used += size;
    kept.push(withoutDetails(row));
    if (row.ExtraDetails !== undefined) omittedDetails += 1;
  }
  // An empty snapshot would say that there is nothing. A single row that is too large is shortened when it is sent.
  if (kept.length === 0) kept.push(...rows.slice(0, 1));
  return { rows: kept, omittedRows: rows.length - kept.length, omittedDetails };
}

const sizeOf = (row: Payload): number => Buffer.byteLength(JSON.stringify(row)) + 1;

/** The rows, of which the last one says in its ExtraDetails what is missing. */
export function noted(rows: readonly Payload[], omittedRows: number, omittedDetails: number): readonly Payload[] {
  const last = rows.at(-1);
  if (last === undefined || (omittedRows === 0 && omittedDetails === 0)) return rows;
  const note = {
    ...(omittedRows === 0 ? {} : { OmittedElements: String(omittedRows) }),
    ...(omittedDetails === 0 ? {} : { OmittedDetails: String(omittedDetails) }),
  };
  return [...rows.slice(0, -1), withDetails(last, note)];
}
