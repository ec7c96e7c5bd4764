import type { Clock } from '../base/clock.ts';
import { milliseconds } from '../base/duration.ts';
import type { QueueName } from '../contract/event.ts';
import type { Medium } from './segment-folder.ts';
import type { SegmentLog } from './store.ts';

/** Evicting frees a segment, so it is a small part of the room that a queue may take. */
const SEGMENTS = 16;
const SMALLEST_SEGMENT = 2048;
const LARGEST_SEGMENT = 1024 * 1024;

/** With this much room left, the size of the next checkpoints does not matter. */
const AMPLE = 64 * 1024;
/** Events that come faster than the disk syncs are dropped, when everything older than them would have to go. */
const WAIT_AT_MOST_EVERY = milliseconds(100);

/** What a checkpoint may grow by until the next time its size is looked at. */
const GROWTH = 128;

/**
 * The limit that the two queues share, and the rule by which they make room: the oldest of Low go first, for High then
 * the oldest of High; Low never takes room from High. Room is made by the segment.
 *
 * While the disk cannot be written, the same rule holds in memory for what is there, within a limit of its own. What
 * comes back from there may take the disk beyond its limit until older events have made room, a moment later.
 */
export class Room {
  readonly #logs: Readonly<Record<QueueName, SegmentLog>>;
  readonly #medium: () => Medium;
  readonly #most: () => number;
  readonly #mostInMemory: number;
  readonly #clock: Clock;
  #waitedAt = milliseconds(Number.NEGATIVE_INFINITY);

  /**
   * @param medium where new events go
   * @param most bytes of disk
   * @param mostInMemory bytes of memory, while the disk cannot be written
   */
  constructor(
    logs: Readonly<Record<QueueName, SegmentLog>>,
    {
      medium,
      most,
      mostInMemory,
      clock,
    }: { medium: () => Medium; most: () => number; mostInMemory: number; clock: Clock },
  ) {
    this.#logs = logs;
    this.#medium = medium;
    this.#most = most;
    this.#mostInMemory = mostInMemory;
    this.#clock = clock;
  }

  /** The largest that the next segment of a queue should become. */
  segmentOf(queue: QueueName): number {
    const medium = this.#medium();
    const room = this.#limit(medium) - (queue === 'Low' ? this.#logs.High.bytesIn(medium) : 0);
    return Math.min(Math.max(room / SEGMENTS, SMALLEST_SEGMENT), LARGEST_SEGMENT);
  }

  /** How many of the `wanted` bytes of records there could be room for, were everything evicted that the rule allows. */
  for(queue: QueueName, wanted: number): number {
    const medium = this.#medium();
    if (this.#used(medium) + wanted + AMPLE <= this.#limit(medium)) return wanted;
    const { High, Low } = this.#logs;
    const ofHigh = queue === 'High' ? High.pinnedIn(medium) : High.bytesIn(medium);
    return this.#limit(medium) - this.#reserve - Low.pinnedIn(medium) - ofHigh;
  }

  /** Makes room for `bytes` more. @returns whether there is */
  make(queue: QueueName, bytes: number): boolean {
    const medium = this.#medium();
    if (this.#used(medium) + bytes + AMPLE <= this.#limit(medium)) return true;
    const needed = bytes + this.#reserve;
    const fits = () => this.#used(medium) + needed <= this.#limit(medium);
    if (fits()) return true;
    const { High, Low } = this.#logs;
    const now = this.#clock.monotonic();
    const waits = High.waits + Low.waits;
    const mayWait = now - this.#waitedAt >= WAIT_AT_MOST_EVERY;
    for (const log of medium === 'disk' ? [Low, High] : []) if (!fits()) log.reclaim(mayWait);
    for (const log of queue === 'High' ? [Low, High] : [Low]) while (!fits() && log.evict(medium, mayWait));
    if (High.waits + Low.waits > waits) this.#waitedAt = now;
    return fits() || (medium !== this.#medium() && this.make(queue, bytes)); // the disk refused in between
  }

  /** Brings the queues below the limit again. @returns whether anything had to be done */
  keepWithin(): boolean {
    const { High, Low } = this.#logs;
    const tooFull = (['disk', 'memory'] as const).filter((medium) => this.#used(medium) > this.#limit(medium));
    for (const medium of tooFull) {
      const fits = () => this.#used(medium) <= this.#limit(medium);
      for (const log of medium === 'disk' ? [Low, High] : []) log.reclaim(true);
      for (const log of [Low, High]) while (!fits() && log.evict(medium, true));
    }
    return tooFull.length > 0;
  }

  /** What part of the limit is taken, where new events go now. */
  get fill(): number {
    const medium = this.#medium();
    return this.#used(medium) / this.#limit(medium);
  }

  #limit(medium: Medium): number {
    return medium === 'disk' ? this.#most() : Math.min(this.#most(), this.#mostInMemory);
  }

  #used(medium: Medium): number {
    return this.#logs.High.bytesIn(medium) + this.#logs.Low.bytesIn(medium);
  }

  /** What a checkpoint for each queue, and the head of a new segment, shall always find. */
  get #reserve(): number {
    return 2 * (this.#logs.High.emptyBytes + this.#logs.Low.emptyBytes + GROWTH);
  }
}
