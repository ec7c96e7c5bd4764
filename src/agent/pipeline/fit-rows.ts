import { randomUUID } from 'node:crypto';
import type { Clock } from '../../core/base/clock.ts';
import { Turn } from '../../core/base/waiting.ts';
import type { PeriodicCollector } from '../../core/contract/collector.ts';
import type { PartDetails, Payload } from '../../core/contract/event.ts';
import { UNIT_BYTES } from '../../core/contract/message.ts';
import type { Settings } from '../../core/contract/settings.ts';
import { PACKED_MESSAGE_BYTES } from './pack.ts';
import { withDetails, withoutDetails } from './row-details.ts';

/** The largest message that a snapshot, or a part of one, is made for: 2 KB are reserved for what surrounds its event. */
export const MAX_SNAPSHOT_MESSAGE_BYTES = PACKED_MESSAGE_BYTES - 2 * 1024;
/** What a message holds beside the rows: envelopes, properties, and what labels and notes add to rows. */
const AROUND_ROWS = 2_048;
/** What the marks of an unset clock add to each row, see unset-clock.ts. */
const MARKS_BYTES = 160;
/** Share of the queues' limit for one message of a snapshot: High may always use half of it. */
const SHARE_OF_QUEUES = 0.5;

/** With the smallest maxMessageSizeInBytes, this many parts carry as much as one message of the default size. */
export const MAX_PARTS = 32;
/** For all parts of a snapshot. They are in memory together until they are queued. */
export const LARGEST_SNAPSHOT = 1024 * 1024;
/** Share of the queues' limit for all parts: a single snapshot must not cause older events to be dropped. */
const SHARE_OF_QUEUES_FOR_PARTS = 1 / 3;
/** Share of the day's message units for all parts: a single snapshot must not hold back all other messages. */
const SHARE_OF_DAY_FOR_PARTS = 1 / 4;

/**
 * How much of a snapshot may be sent.
 *
 * @param bytesPerDay what messages of the snapshot's priority may take in a day
 * @param isClockSet an unset clock marks each row later
 */
export function rowLimits(
  { inParts }: Pick<PeriodicCollector, 'inParts'>,
  { maxMessageSizeInBytes, maxLocalCacheSizeInBytes, hubResourceId }: Settings,
  { bytesPerDay, isClockSet }: { bytesPerDay: number; isClockSet: boolean },
): RowLimits {
  const around = AROUND_ROWS + Buffer.byteLength(hubResourceId);
  const inDay = Math.max(UNIT_BYTES, bytesPerDay * SHARE_OF_DAY_FOR_PARTS);
  const messageBytes = Math.min(maxMessageSizeInBytes, MAX_SNAPSHOT_MESSAGE_BYTES, inDay);
  const partBytes = Math.min(messageBytes, maxLocalCacheSizeInBytes * SHARE_OF_QUEUES) - around;
  const snapshotBytes = Math.min(LARGEST_SNAPSHOT, maxLocalCacheSizeInBytes * SHARE_OF_QUEUES_FOR_PARTS, inDay);
  const parts = Math.min(MAX_PARTS, Math.floor(snapshotBytes / (partBytes + around)));
  return { partBytes, maxParts: inParts ? Math.max(1, parts) : 1, extraBytes: isClockSet ? 0 : MARKS_BYTES };
}

/** How much of a snapshot may be sent, and in how many pieces. */
export interface RowLimits {
  /** For the rows of one part as JSON, with a comma between them. */
  readonly partBytes: number;
  /** 1: the snapshot is not split. */
  readonly maxParts: number;
  /** Bytes by which each row may still grow. */
  readonly extraBytes: number;
}

/** The rows of a snapshot that are sent, and what is left out. */
export interface FittedRows {
  /** The rows of each part, in their order. At least one part, which is empty when the snapshot is. */
  readonly parts: readonly (readonly Payload[])[];
  readonly omittedRows: number;
  /** Rows that are sent without their ExtraDetails. */
  readonly omittedDetails: number;
}

/** While not all rows fit, rows keep their ExtraDetails up to this share of the limit; the rest is for more rows. */
const SHARE_OF_DETAILS = 0.5;
/** How often the choice is made again when whole rows leave parts partly empty. */
const MAX_TRIES = 8;

/**
 * Divides a snapshot into parts that each fit into a message, and chooses what to send when it fits into none of the
 * allowed number of parts. The first rows matter most: they are kept whole, up to half of the limit; of the others the
 * ExtraDetails are left out first, then rows from the end.
 *
 * A row is never divided: one that is larger than a part gets its own part, and is shortened when it is sent.
 *
 * Writes each row as JSON once to learn its size, and lets other work run in between.
 */
export async function fitRows(rows: readonly Payload[], limits: RowLimits, clock: Clock): Promise<FittedRows> {
  const { partBytes, maxParts, extraBytes } = limits;
  const sizes = await measure(rows, extraBytes, clock);
  let limitBytes = partBytes * maxParts;
  let choice = choose(sizes, limitBytes);
  let ends = divide(sizes, choice, partBytes);
  // Whole rows don't fill parts exactly. When the last ones need a part too many, more ExtraDetails are left out.
  for (let tries = 0; ends.length > maxParts && choice.kept === rows.length && tries < MAX_TRIES; tries += 1) {
    limitBytes -= sizeBetween(sizes, choice, ends[maxParts - 1] ?? 0, rows.length);
    choice = choose(sizes, limitBytes);
    ends = divide(sizes, choice, partBytes);
  }
  ends = ends.slice(0, maxParts);
  const sent = rows.slice(0, ends.at(-1)).map((row, index) => (index < choice.whole ? row : withoutDetails(row)));
  return {
    parts: ends.map((end, index) => sent.slice(ends[index - 1] ?? 0, end)),
    omittedRows: rows.length - sent.length,
    omittedDetails: rows.slice(choice.whole, sent.length).filter((row) => row.ExtraDetails !== undefined).length,
  };
}

/** Bytes of each row as JSON and a comma, with and without its ExtraDetails. */
interface Sizes {
  readonly full: readonly number[];
  readonly bare: readonly number[];
}

async function measure(rows: readonly Payload[], extraBytes: number, clock: Clock): Promise<Sizes> {
  const turn = new Turn(clock);
  const full: number[] = [];
  const bare: number[] = [];
  for (const row of rows) {
    const size = sizeOf(row) + extraBytes;
    full.push(size);
    bare.push(row.ExtraDetails === undefined ? size : sizeOf(withoutDetails(row)) + extraBytes);
    if (turn.isOver()) await turn.next();
  }
  return { full, bare };
}

const sizeOf = (row: Payload): number => Buffer.byteLength(JSON.stringify(row)) + 1;

/** Which rows are sent: the first `kept`, of which the first `whole` keep their ExtraDetails. */
interface Choice {
  readonly whole: number;
  readonly kept: number;
}

function choose({ full, bare }: Sizes, limitBytes: number): Choice {
  if (sum(full) <= limitBytes) return { whole: full.length, kept: full.length };
  const bareBytes = sum(bare);
  const allFitBare = bareBytes <= limitBytes;
  const limitOfWhole = allFitBare ? limitBytes : limitBytes * SHARE_OF_DETAILS;
  // Minimum bytes of the rows after the whole ones, if all of them are sent.
  let behind = allFitBare ? bareBytes : 0;
  let used = 0;
  let whole = 0;
  for (; whole < full.length; whole += 1) {
    const size = full[whole] ?? 0;
    behind -= allFitBare ? (bare[whole] ?? 0) : 0;
    if (used + size + behind > limitOfWhole) break;
    used += size;
  }
  let kept = whole;
  for (; kept < bare.length; kept += 1) {
    used += bare[kept] ?? 0;
    if (used > limitBytes) break;
  }
  // An empty snapshot would claim that nothing was found.
  return kept === 0 ? { whole: 1, kept: 1 } : { whole, kept };
}

const sum = (sizes: readonly number[]): number => sizes.reduce((all, size) => all + size, 0);

/** @returns for each part the index after its last row */
function divide(sizes: Sizes, choice: Choice, partBytes: number): number[] {
  const ends: number[] = [];
  let used = 0;
  for (let index = 0; index < choice.kept; index += 1) {
    const size = sizeAt(sizes, choice, index);
    const isFull = used > 0 && used + size > partBytes;
    if (isFull) ends.push(index);
    used = isFull ? size : used + size;
  }
  return [...ends, choice.kept];
}

const sizeAt = ({ full, bare }: Sizes, { whole }: Choice, index: number): number =>
  (index < whole ? full[index] : bare[index]) ?? 0;

function sizeBetween(sizes: Sizes, choice: Choice, from: number, to: number): number {
  let size = 0;
  for (let index = from; index < to; index += 1) size += sizeAt(sizes, choice, index);
  return size;
}

/**
 * The parts as they are sent: the first row of each says which part it is, when there are several, and the last row of
 * all says how many rows and ExtraDetails are left out. All parts get the same SnapshotId.
 */
export function labelled({ parts, omittedRows, omittedDetails }: FittedRows): readonly (readonly Payload[])[] {
  const SnapshotId = randomUUID();
  return parts.map((rows, index) => {
    const label: PartDetails = { Part: String(index + 1), Parts: String(parts.length), SnapshotId };
    const [first, ...others] = rows;
    const withLabel = first === undefined || parts.length === 1 ? rows : [withDetails(first, label), ...others];
    return index === parts.length - 1 ? noted(withLabel, omittedRows, omittedDetails) : withLabel;
  });
}

function noted(rows: readonly Payload[], omittedRows: number, omittedDetails: number): readonly Payload[] {
  const last = rows.at(-1);
  if (last === undefined || (omittedRows === 0 && omittedDetails === 0)) return rows;
  const note = {
    ...(omittedRows === 0 ? {} : { OmittedElements: String(omittedRows) }),
    ...(omittedDetails === 0 ? {} : { OmittedDetails: String(omittedDetails) }),
  };
  return [...rows.slice(0, -1), withDetails(last, note)];
}
