import type { Envelope, Payload } from '../contract/event.ts';

/**
 * Makes an event fit that alone is too large for a message, so that it never blocks its queue (contract §6).
 *
 * Rows at the end of a snapshot go first; of a single row the longest text is cut. The last row that is left says so in
 * ExtraDetails: `OmittedElements` (how many), or `ShortenedField` and `OriginalBytes` (of each, when they are several).
 *
 * A snapshot counts as one in the books, however many rows it has. The elements of another event count each, and an
 * event is delivered or dropped as a whole; so none is left out of it.
 *
 * @param json an envelope, as it lies in the queue
 * @returns `undefined` when nothing that could be cut makes it fit, or when it is no envelope at all
 */
export function shorten(json: string, roomBytes: number): string | undefined {
  let event: Envelope;
  try {
    event = JSON.parse(json) as Envelope;
  } catch {
    return undefined;
  }
  if (!Array.isArray(event?.Payload) || event.Payload.length === 0) return undefined;
  if (event.Payload.length === 1) return cutText(event, roomBytes);
  if (event.Category === 'Periodic') return omitRows(event, roomBytes);
  return Buffer.byteLength(json) <= roomBytes ? json : undefined;
}

const write = (event: Envelope, rows: readonly Payload[]) => JSON.stringify({ ...event, Payload: rows });

/** Keeps as many rows as fit; found by halving, since a row's size is not known beforehand. */
function omitRows(event: Envelope, roomBytes: number): string | undefined {
  const rows = event.Payload;
  const keeping = (count: number) => {
    const kept = rows.slice(0, count);
    const last = kept[count - 1];
    const marked = [...kept.slice(0, -1), noted(last, { OmittedElements: String(rows.length - count) })];
    return write(event, marked);
  };
  let fits = 0;
  let tooMany = rows.length;
  while (tooMany - fits > 1) {
    const half = Math.floor((fits + tooMany) / 2);
    if (Buffer.byteLength(keeping(half)) <= roomBytes) fits = half;
    else tooMany = half;
  }
  if (fits > 0) return keeping(fits);
  const first = noted(rows[0], { OmittedElements: String(rows.length - 1) });
  return cutText({ ...event, Payload: [first] }, roomBytes);
}

/** Cuts the longest text of the only row, again and again until the event fits. */
function cutText(event: Envelope, roomBytes: number): string | undefined {
  let row: Payload = event.Payload[0] ?? {};
  const originalBytes = new Map<string, number>();
  for (;;) {
    const json = write(event, [row]);
    const excess = Buffer.byteLength(json) - roomBytes;
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
    row = noted(withText(wellFormed(text.slice(0, keep))), note);
  }
}

const noted = (row: Payload = {}, note: Record<string, string>): Payload => ({
  ...row,
  ExtraDetails: { ...(row.ExtraDetails as Record<string, string> | undefined), ...note },
});

/** Shorter texts are left alone. */
const WORTH_CUTTING = 32;
/** What this file writes itself. */
const NOTES: readonly string[] = ['OmittedElements', 'ShortenedField', 'OriginalBytes'];

interface Text {
  /** `CommandLine`, or `ExtraDetails.CurrentDirectory`. */
  readonly field: string;
  readonly text: string;
  /** The row with another text in this one's place. */
  withText(text: string): Payload;
}

/** The text that takes most bytes, among those that can be cut. */
function longestText(row: Payload): Text | undefined {
  let longest: Text | undefined;
  let most = 0;
  for (const candidate of [...topTexts(row), ...detailTexts(row)]) {
    if (candidate.text.length < WORTH_CUTTING) continue;
    const bytes = Buffer.byteLength(JSON.stringify(candidate.text));
    if (bytes <= most) continue;
    longest = candidate;
    most = bytes;
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

/** Without half a surrogate pair at its end. */
const wellFormed = (text: string) => (/[\uD800-\uDBFF]$/.test(text) ? text.slice(0, -1) : text);
