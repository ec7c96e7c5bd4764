import type { Envelope, Payload } from '../../core/contract/event.ts';
import { withDetails, withoutDetails } from './row-details.ts';

/**
 * Shortens an event that is larger than a message, so that it never blocks its queue (contract §6).
 *
 * A snapshot loses the ExtraDetails of its last rows first, since consumers may not depend on them, and then its last
 * rows. A single row loses text from its longest field. The last row that is left has a note in ExtraDetails:
 * `OmittedDetails` (of how many rows), `OmittedElements` (how many rows), or `ShortenedField` and `OriginalBytes`, joined
 * with `;` for several fields.
 *
 * The elements of a Triggered event are counted one by one, and an event is delivered or dropped as a whole, so no element
 * of it is left out. A snapshot, or a part of one, counts as one however many rows it has.
 *
 * @param json an envelope from the queue
 * @returns `undefined` when no cut makes it fit, or when `json` is not an envelope
 */
export function shorten(json: string, maxBytes: number): string | undefined {
  let event: Envelope;
  try {
    event = JSON.parse(json) as Envelope;
  } catch {
    return undefined;
  }
  if (!Array.isArray(event?.Payload) || event.Payload.length === 0) return undefined;
  if (event.Payload.length === 1) return cutText(event, maxBytes);
  if (event.Category === 'Periodic') return omitRows(event, maxBytes);
  return Buffer.byteLength(json) <= maxBytes ? json : undefined;
}

const write = (event: Envelope, rows: readonly Payload[]) => JSON.stringify({ ...event, Payload: rows });

/** Keeps the details of as many rows as fit; if not all rows fit without details, as many rows without details as fit. */
function omitRows(event: Envelope, maxBytes: number): string | undefined {
  const rows = event.Payload;
  const bare = rows.map(withoutDetails);
  const detailed = rows.map((row, index) => row !== bare[index]);
  const fits = (json: string) => Buffer.byteLength(json) <= maxBytes;
  const withDetailsOf = (count: number) => {
    const without = detailed.slice(count).filter(Boolean).length;
    const kept = [...rows.slice(0, count), ...bare.slice(count)];
    return write(event, without === 0 ? kept : notedLast(kept, { OmittedDetails: String(without) }));
  };
  const keeping = (count: number) => {
    const without = detailed.slice(0, count).filter(Boolean).length;
    const note = { OmittedElements: String(rows.length - count) };
    return write(
      event,
      notedLast(bare.slice(0, count), without === 0 ? note : { ...note, OmittedDetails: String(without) }),
    );
  };
  if (fits(withDetailsOf(0))) return withDetailsOf(largestFitting(rows.length, (count) => fits(withDetailsOf(count))));
  const count = largestFitting(rows.length - 1, (some) => some === 0 || fits(keeping(some)));
  if (count > 0) return keeping(count);
  const first = withDetails(rows[0] ?? {}, { OmittedElements: String(rows.length - 1) });
  return cutText({ ...event, Payload: [first] }, maxBytes);
}

/** The largest number up to `limit` that `fits`, found by halving, since a row's size is not known beforehand; 0 does. */
function largestFitting(limit: number, fits: (count: number) => boolean): number {
  if (fits(limit)) return limit;
  let few = 0;
  let tooMany = limit;
  while (tooMany - few > 1) {
    const half = Math.floor((few + tooMany) / 2);
    if (fits(half)) few = half;
    else tooMany = half;
  }
  return few;
}

const notedLast = (rows: readonly Payload[], note: Record<string, string>): readonly Payload[] => [
  ...rows.slice(0, -1),
  withDetails(rows.at(-1) ?? {}, note),
];

/** Cuts the longest text of the single row until the event fits. */
function cutText(event: Envelope, maxBytes: number): string | undefined {
  let row: Payload = event.Payload[0] ?? {};
  const originalBytes = new Map<string, number>();
  for (;;) {
    const json = write(event, [row]);
    const excess = Buffer.byteLength(json) - maxBytes;
    if (excess <= 0) return json;
    const longest = longestText(row);
    if (longest === undefined) return undefined;
    const { field, text, withText } = longest;
    if (!originalBytes.has(field)) originalBytes.set(field, Buffer.byteLength(text));
    const note = {
      ShortenedField: [...originalBytes.keys()].join(';'),
      OriginalBytes: [...originalBytes.values()].join(';'),
    };
    // One byte of JSON is at most one UTF-16 unit of text and at least a sixth of one (an escaped control character).
    const keep = Math.max(0, text.length - Math.max(Math.ceil(excess / 6) + 64, 64));
    row = withDetails(withText(wellFormed(text.slice(0, keep))), note);
  }
}

/** Shorter strings are not truncated. */
const WORTH_CUTTING = 32;
/** ExtraDetails added by the agent: the notes of this file, and the part of a snapshot. They are not cut. */
const NOTES: readonly string[] = [
  ...['OmittedDetails', 'OmittedElements', 'ShortenedField', 'OriginalBytes'],
  ...['Part', 'Parts', 'SnapshotId'],
];

interface Text {
  /** `CommandLine`, or `ExtraDetails.CurrentDirectory`. */
  readonly field: string;
  readonly text: string;
  /** The row with this text replaced. */
  withText(text: string): Payload;
}

/** The longest text, in bytes, that can be cut. */
function longestText(row: Payload): Text | undefined {
  let longest: Text | undefined;
  let largestFitting = 0;
  for (const candidate of [...topTexts(row), ...detailTexts(row)]) {
    if (candidate.text.length < WORTH_CUTTING) continue;
    const bytes = Buffer.byteLength(JSON.stringify(candidate.text));
    if (bytes <= largestFitting) continue;
    longest = candidate;
    largestFitting = bytes;
  }
  return longest;
}

const topTexts = (row: Payload): Text[] =>
  textsIn(row).map(([field, text]) => ({ field, text, withText: (other) => ({ ...row, [field]: other }) }));

function detailTexts(row: Payload): Text[] {
  const { ExtraDetails } = row;
  if (typeof ExtraDetails !== 'object' || ExtraDetails === null) return [];
  return textsIn(ExtraDetails)
    .filter(([field]) => !NOTES.includes(field))
    .map(([field, text]) => ({
      field: `ExtraDetails.${field}`,
      text,
      withText: (other) => ({ ...row, ExtraDetails: { ...ExtraDetails, [field]: other } }),
    }));
}

const textsIn = (fields: object) =>
  Object.entries(fields).filter((entry): entry is [string, string] => typeof entry[1] === 'string');

/** The text without a trailing half of a surrogate pair. */
const wellFormed = (text: string) => (/[\uD800-\uDBFF]$/.test(text) ? text.slice(0, -1) : text);
