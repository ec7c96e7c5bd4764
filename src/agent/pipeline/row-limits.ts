import type { PeriodicCollector } from '../../core/contract/collector.ts';
import { UNIT_BYTES } from '../../core/contract/message.ts';
import type { Settings } from '../../core/contract/settings.ts';
import type { RowLimits } from './fit-rows.ts';
import { PACKED_MESSAGE_BYTES } from './pack.ts';

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
