import type { Clock } from '../../core/base/clock.ts';
import { LONG_AGO, milliseconds } from '../../core/base/duration.ts';
import type { QueueName } from '../../core/contract/event.ts';
import { hasLimitedShare } from '../../core/contract/owner.ts';
import type { Medium } from './log-folder.ts';
import type { SegmentLog, SizedEvent } from './store.ts';

/** Eviction frees whole segments, so a segment is a small part of a queue's limit. */
const SEGMENTS = 16;
const SMALLEST_SEGMENT = 2048;
const LARGEST_SEGMENT = 1024 * 1024;

/** With this many bytes free, the size of the next checkpoints need not be calculated. */
const AMPLE_SPACE = 64 * 1024;
/** Minimum time between blocking syncs. In between, events that could only be stored after such a sync are dropped. */
const SYNC_INTERVAL = milliseconds(100);

/** Share of a queue that a user may always hold, even while the queue is full. */
const MIN_USER_SHARE = 1 / 8;

/** Bytes that a checkpoint may grow by until its size is calculated next. */
const GROWTH = 128;
/**
 * Bytes for new events that the smallest limit leaves, regardless of events in flight and the size of the accounts: otherwise
 * a twin that asks for a small cache could keep alerts, and the notice of this very change, from being queued. See LARGEST_TEXT
 * of notices.ts.
 */
const SMALLEST_SPACE = 6 * 1024;

/**
 * Enforces the size limit that the two queues share, by evicting whole segments: the oldest of Low first, and for new
 * High events then the oldest of High. Low never evicts from High.
 *
 * While the disk cannot be written, new events are kept in memory, within a second limit. The first limit still applies to
 * the events in both media together, so moving the segments to the disk later cannot exceed it.
 */
export class QueueSpace {
  readonly #logs: Readonly<Record<QueueName, SegmentLog>>;
  readonly #medium: () => Medium;
  readonly #maxBytes: () => number;
  readonly #maxBytesInMemory: number;
  readonly #evicted: (queue: QueueName) => void;
  readonly #clock: Clock;
  #waitedAt = LONG_AGO;

  /**
   * @param medium where new events go
   * @param maxBytes on disk
   * @param maxBytesInMemory in memory, while the disk cannot be written
   * @param evicted called after events of a queue were evicted
   */
  constructor(
    logs: Readonly<Record<QueueName, SegmentLog>>,
    {
      medium,
      maxBytes,
      maxBytesInMemory,
      evicted,
      clock,
    }: {
      medium: () => Medium;
      maxBytes: () => number;
      maxBytesInMemory: number;
      evicted: (queue: QueueName) => void;
      clock: Clock;
    },
  ) {
    this.#logs = logs;
    this.#medium = medium;
    this.#maxBytes = maxBytes;
    this.#maxBytesInMemory = maxBytesInMemory;
    this.#evicted = evicted;
    this.#clock = clock;
  }

  /** Maximum size of a queue's next segment, in bytes. */
  segmentSize(queue: QueueName): number {
    const medium = this.#medium();
    const space = this.#limit(medium) - (queue === 'Low' ? this.#logs.High.bytesIn(medium) : 0);
    return Math.min(Math.max(space / SEGMENTS, SMALLEST_SEGMENT), LARGEST_SEGMENT);
  }

  /**
   * The events that would exceed their user's share. A user may hold as many bytes of a queue as are still free, and always an
   * eighth of it: one user fills half of it at most, two fill a third each. So a user who floods the queue displaces no events.
   */
  beyondShare(queue: QueueName, events: readonly SizedEvent[]): ReadonlySet<SizedEvent> {
    const medium = this.#medium();
    const space = this.#limit(medium) - this.#reserve - (queue === 'Low' ? this.#logs.High.bytesIn(medium) : 0);
    const refused = new Set<SizedEvent>();
    const added = new Map<string, number>();
    let all = 0;
    for (const sized of events) {
      const { recordBytes, event } = sized;
      if (hasLimitedShare(event.owner)) {
        const held = this.#logs[queue].heldIn(medium, event.owner);
        const ofUser = (added.get(event.owner) ?? 0) + recordBytes;
        if (held.byOwner + ofUser > Math.max(space * MIN_USER_SHARE, space - held.all - all)) {
          refused.add(sized);
          continue;
        }
        added.set(event.owner, ofUser);
      }
      all += recordBytes;
    }
    return refused;
  }

  /** How many of the `wanted` bytes could be stored if everything were evicted that may be. */
  available(queue: QueueName, wanted: number): number {
    const medium = this.#medium();
    if (this.#fits(medium, wanted + AMPLE_SPACE)) return wanted;
    const { High, Low } = this.#logs;
    const left = (limit: number, media: readonly Medium[], highIn: (one: Medium) => number) =>
      media.reduce(
        (space, one) => space - Low.pinnedIn(one) - (queue === 'High' ? High.pinnedIn(one) : highIn(one)),
        limit - this.#reserve,
      );
    const ofMedium = left(this.#limit(medium), [medium], (one) => High.bytesIn(one));
    if (medium === 'disk') return ofMedium;
    return Math.min(
      ofMedium,
      left(this.#limit('disk'), ['disk', 'memory'], (one) => High.neededIn(one)),
    );
  }

  /** Evicts until `bytes` more can be stored. @returns whether they can */
  makeSpace(queue: QueueName, bytes: number): boolean {
    const medium = this.#medium();
    if (this.#fits(medium, bytes + AMPLE_SPACE)) return true;
    const needed = bytes + this.#reserve;
    const fits = () => this.#fits(medium, needed);
    if (fits()) return true;
    const { High, Low } = this.#logs;
    const now = this.#clock.monotonic();
    const waits = High.waits + Low.waits;
    const mayWait = now - this.#waitedAt >= SYNC_INTERVAL;
    const reclaim = () => {
      for (const log of medium === 'disk' ? [Low, High] : []) if (!fits()) log.reclaim(mayWait);
    };
    reclaim();
    for (const log of queue === 'High' ? [Low, High] : [Low])
      while (!fits() && this.#evict(log, medium, needed, mayWait));
    reclaim(); // each eviction has written a checkpoint
    if (High.waits + Low.waits > waits) this.#waitedAt = now;
    return fits() || (medium !== this.#medium() && this.makeSpace(queue, bytes)); // the disk failed in between
  }

  /** Evicts until the queues are within the limit. @returns whether they were above it */
  enforceLimit(): boolean {
    const { High, Low } = this.#logs;
    const tooFull = (['disk', 'memory'] as const).filter((medium) => !this.#fits(medium, 0));
    for (const medium of tooFull) {
      for (const log of medium === 'disk' ? [Low, High] : []) log.reclaim(true);
      for (const log of [Low, High]) while (!this.#fits(medium, 0) && this.#evict(log, medium, 0, true));
    }
    return tooFull.length > 0;
  }

  /** Whether that many bytes more are within the limits. */
  #fits(medium: Medium, bytes: number): boolean {
    if (this.#used(medium) + bytes > this.#limit(medium)) return false;
    return medium === 'disk' || this.#needed + bytes <= this.#limit('disk');
  }

  #evict(log: SegmentLog, medium: Medium, needed: number, mayWait: boolean): boolean {
    const isFull = this.#used(medium) + needed > this.#limit(medium);
    const isEvicted = (!isFull && log.evict('disk', mayWait)) || log.evict(medium, mayWait);
    if (isEvicted) this.#evicted(log === this.#logs.High ? 'High' : 'Low');
    return isEvicted;
  }

  /** Used share of the limit, in the medium where new events are stored. */
  get fill(): number {
    const medium = this.#medium();
    const share = this.#used(medium) / this.#limit(medium);
    return medium === 'disk' ? share : Math.max(share, this.#needed / this.#limit('disk'));
  }

  #limit(medium: Medium): number {
    const maxBytes = this.#maxBytes();
    const pinned = this.#logs.High.pinnedIn(medium) + this.#logs.Low.pinnedIn(medium);
    const limit =
      maxBytes >= AMPLE_SPACE + pinned
        ? maxBytes
        : Math.max(maxBytes, pinned + this.#accounts + this.#reserve + SMALLEST_SPACE);
    return medium === 'disk' ? limit : Math.min(limit, this.#maxBytesInMemory);
  }

  #used(medium: Medium): number {
    return this.#logs.High.bytesIn(medium) + this.#logs.Low.bytesIn(medium);
  }

  /** Bytes of both queues in both media, without dead segments. */
  get #needed(): number {
    const { High, Low } = this.#logs;
    return High.neededIn('disk') + Low.neededIn('disk') + High.neededIn('memory') + Low.neededIn('memory');
  }

  /** Bytes kept free for a checkpoint of each queue and the head of a new segment. */
  get #reserve(): number {
    return 2 * (this.#accounts + GROWTH);
  }

  /** Bytes of both queues without events. */
  get #accounts(): number {
    return this.#logs.High.emptyBytes + this.#logs.Low.emptyBytes;
  }
}
