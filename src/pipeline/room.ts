import type { Clock } from '../base/clock.ts';
import { milliseconds } from '../base/duration.ts';
import type { QueueName } from '../contract/event.ts';
import type { SegmentLog } from './store.ts';

/** With this much room left, the size of the next checkpoints does not matter. */
const AMPLE = 64 * 1024;
/** Events that come faster than the disk syncs are dropped, when everything older than them would have to go. */
const WAIT_AT_MOST_EVERY = milliseconds(100);

/** What a checkpoint may grow by until the next time its size is looked at. */
const GROWTH = 128;

/**
 * The limit that the two queues share, and the rule by which they make room: the oldest of Low go first, for High then
 * the oldest of High; Low never takes room from High. Room is made by the segment.
 */
export class Room {
  readonly #logs: Readonly<Record<QueueName, SegmentLog>>;
  readonly #limit: () => number;
  readonly #clock: Clock;
  #waitedAt = milliseconds(Number.NEGATIVE_INFINITY);

  constructor(logs: Readonly<Record<QueueName, SegmentLog>>, limit: () => number, clock: Clock) {
    this.#logs = logs;
    this.#limit = limit;
    this.#clock = clock;
  }

  /** How many of the `wanted` bytes of records there could be room for, were everything evicted that the rule allows. */
  for(queue: QueueName, wanted: number): number {
    const { High, Low } = this.#logs;
    if (High.bytes + Low.bytes + wanted + AMPLE <= this.#limit()) return wanted;
    return this.#limit() - this.#reserve - Low.pinnedBytes - (queue === 'High' ? High.pinnedBytes : High.bytes);
  }

  /** Makes room for `bytes` more. @returns whether there is */
  make(queue: QueueName, bytes: number): boolean {
    const { High, Low } = this.#logs;
    if (High.bytes + Low.bytes + bytes + AMPLE <= this.#limit()) return true;
    const needed = bytes + this.#reserve;
    const fits = () => High.bytes + Low.bytes + needed <= this.#limit();
    if (fits()) return true;
    const now = this.#clock.monotonic();
    const waits = High.waits + Low.waits;
    const mayWait = now - this.#waitedAt >= WAIT_AT_MOST_EVERY;
    for (const log of [Low, High]) if (!fits()) log.reclaim(mayWait);
    for (const log of queue === 'High' ? [Low, High] : [Low]) while (!fits() && log.evict(mayWait));
    if (High.waits + Low.waits > waits) this.#waitedAt = now;
    return fits();
  }

  /** Brings the queues below the limit again. @returns whether anything had to be done */
  keepWithin(): boolean {
    const { High, Low } = this.#logs;
    const fits = () => High.bytes + Low.bytes <= this.#limit();
    if (fits()) return false;
    for (const log of [Low, High]) log.reclaim(true);
    for (const log of [Low, High]) while (!fits() && log.evict(true));
    return true;
  }

  /** What a checkpoint for each queue, and the head of a new segment, shall always find. */
  get #reserve(): number {
    return 2 * (this.#logs.High.emptyBytes + this.#logs.Low.emptyBytes + GROWTH);
  }
}
