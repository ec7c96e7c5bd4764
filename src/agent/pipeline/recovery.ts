import { basename } from 'node:path';
import { Account, droppedIn, UNIDENTIFIED } from '../../core/base/counters.ts';
import { errnoOf } from '../../core/base/errors.ts';
import type { EventTally } from '../../core/contract/store.ts';
import { type FoundFiles, findFiles, type LogFile } from './log-folder.ts';
import { type Checkpoint, Positions, readRecords, SEGMENT_HEAD, type StoredRecord } from './segment.ts';
import type { StoreFiles } from './store-files.ts';

/** A file of a queue, and which of its events are still queued. */
export interface Segment extends LogFile {
  /** The positions of its events, settled ones included: from, inclusive, and to, exclusive. */
  from: number;
  to: number;
  /** Offset of the first queued event. */
  readFrom: number;
  /** Its queued events, the bytes of their envelopes, and their elements by name. */
  events: number;
  bytes: number;
  readonly elements: Map<string, number>;
  /** Bytes of its records by owner, of owners with a limited share, until all its events are settled. Empty for earlier runs. */
  readonly owners: Map<string, number>;
  /** When its first event came in that waits, and its last one; at the latest; see Checkpoint.ran. */
  firstAt: number;
  lastAt: number;
  /** A sync has failed: it is unknown which of its records would survive a power cut. */
  inDoubt: boolean;
}

/** A log recovered from disk. */
export interface Recovered extends Checkpoint, Omit<FoundFiles, 'files'> {
  /** Oldest first. */
  readonly segments: readonly Segment[];
  /** The number of the first segment that the state was read from. */
  readonly stateFrom: number;
  /** Events before this position may exist, but could not be read. */
  readonly unreadUntil: number;
  /** Names of the log's files with bytes that cannot be read as records. A torn last write leaves some, too. */
  readonly damaged: readonly string[];
  /** Elements that were missing, and were counted as lost: `corrupt`. */
  readonly corrupt: number;
}

/** A segment is 1 MiB, and one batch or event more. In bytes; what is larger isn't read. */
const MAX_SEGMENT_BYTES = 16 * 1024 * 1024;

/** A segment whose first event will have this position. */
export const emptySegment = (file: LogFile, position: number): Segment => ({
  from: position,
  to: position,
  readFrom: SEGMENT_HEAD.length,
  events: 0,
  bytes: 0,
  elements: new Map(),
  owners: new Map(),
  firstAt: 0,
  lastAt: 0,
  inDoubt: false,
  ...file,
});

/** Adds events to a segment's counts, or, with `sign` −1, subtracts them. */
export function tally(segment: Segment, { name, elements }: EventTally, bytes: number, sign: 1 | -1): void {
  segment.events += sign;
  segment.bytes += sign * bytes;
  segment.elements.set(name, (segment.elements.get(name) ?? 0) + sign * elements);
}

/**
 * Recovers the state of a log, without writing anything.
 *
 * Recovery starts from the last intact checkpoint and replays the records after it. Events that the checkpoint counts
 * as queued, and that are missing, are counted as lost by name: `corrupt`. For events after the checkpoint only gaps
 * in the positions are known, not the names: those are counted as collected and lost as Unidentified. So the accounts
 * balance regardless of the damage.
 *
 * @throws the file system's error when the folder cannot be read; a file that can't be read does not throw
 */
export function recover(files: StoreFiles, folder: string): Recovered {
  const { files: found, keptAside, nextNumber } = findFiles(files, folder, SEGMENT_HEAD, MAX_SEGMENT_BYTES);
  const all = found.map((file) => emptySegment({ ...file, unsynced: true }, 0));
  const base = findBase(files, all);
  const account = Account.from(base?.checkpoint.account.toJSON());
  const done = base?.checkpoint.done.copy() ?? new Positions();
  const missing = queuedBy(account);
  let next = base?.checkpoint.next ?? 0;
  let floor = 0;
  let corrupt = 0;
  const damaged: string[] = [];
  const ran = base?.checkpoint.ran ?? 0;
  /** The segment whose last event came in before the next checkpoint that will be met. */
  let undated: Segment | undefined;
  const date = (at: number) => {
    if (undated !== undefined) undated.lastAt = Math.min(at, ran);
    undated = undefined;
  };

  for (const segment of all) {
    let read = SEGMENT_HEAD.length;
    const behind = (start: number) =>
      base === undefined || segment.number > base.segment.number || (segment === base.segment && start >= base.end);
    for (const record of intactRecords(files, segment)) {
      const replayed = behind(record.start);
      read += record.end - record.start;
      if (replayed && record.type === 'loss') {
        account.collect(record.name, record.occurrences);
        account.aggregateAway(record.name, record.occurrences - record.elements);
        account.drop(record.name, record.reason, record.elements);
      }
      if (record.type === 'checkpoint') date(record.checkpoint.ran);
      if (record.type !== 'event' || record.position < floor) continue;
      const { name, elements, occurrences, position } = record;
      floor = position + 1;
      if (done.has(position)) continue;
      if (replayed) {
        if (position > next && (base !== undefined || next > 0)) {
          account.collect(UNIDENTIFIED, position - next);
          account.drop(UNIDENTIFIED, 'corrupt', position - next);
          corrupt += position - next;
        }
        account.collect(name, occurrences);
        account.aggregateAway(name, occurrences - elements);
        next = position + 1;
      } else {
        missing.set(name, (missing.get(name) ?? 0) - elements);
      }
      if (segment.events === 0) [segment.from, segment.readFrom] = [position, record.start];
      segment.to = position + 1;
      tally(segment, record, record.bytes, 1);
      undated = segment;
    }
    if (read !== segment.size) damaged.push(basename(segment.path));
  }
  date(ran);
  for (const [name, elements] of missing) {
    if (elements > 0) account.drop(name, 'corrupt', elements);
    else account.collect(name, -elements); // a segment that was counted as lost is present again: the file was restored
    corrupt += Math.max(0, elements);
  }
  const stateFrom = base?.segment.number ?? 0;
  const state = { stateFrom, next, ran, done, account, nextNumber, unreadUntil: 0 };
  return { segments: all, ...state, keptAside, damaged, corrupt };
}

/** The state of a log that cannot be read. It begins at `start`, past everything that the log can contain. */
export const unreadLog = (start: number): Recovered => ({
  segments: [],
  stateFrom: start,
  next: start,
  ran: 0,
  done: new Positions(),
  account: new Account(),
  nextNumber: start,
  unreadUntil: start,
  keptAside: [],
  damaged: [],
  corrupt: 0,
});

/** The last intact checkpoint, which is in the newest segment unless that one is damaged. */
function findBase(files: StoreFiles, segments: readonly Segment[]) {
  for (const segment of segments.toReversed()) {
    let last: (StoredRecord & { type: 'checkpoint' }) | undefined;
    for (const record of intactRecords(files, segment)) if (record.type === 'checkpoint') last = record;
    if (last !== undefined) return { segment, end: last.end, checkpoint: last.checkpoint };
  }
  return undefined;
}

function* intactRecords(files: StoreFiles, segment: Segment): Generator<StoredRecord> {
  try {
    yield* readRecords(files, segment.path, SEGMENT_HEAD.length, segment.size);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
  }
}

/** Queued elements of an account, by name: collected, and neither delivered, aggregated away nor dropped. */
function queuedBy(account: Account): Map<string, number> {
  const rows = Object.entries(account.byEvent());
  return new Map(
    rows.map(([name, row]) => [name, row.collected - row.delivered - row.aggregatedAway - droppedIn(row)]),
  );
}
