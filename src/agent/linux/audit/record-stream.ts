import type { Duration } from '../../../core/base/duration.ts';
import type { AuditEvent } from './event.ts';
import { readHeader } from './header.ts';
import { LossMeter } from './loss.ts';
import { Reassembler } from './reassembler.ts';

/** Events delivered at a time: few enough to become garbage before V8's young generation fills with the next ones. */
const EVENTS_PER_BATCH = 32;

/** Turns records from any source into events, and counts those that are lost. */
export class RecordStream {
  readonly #reassembler: Reassembler;
  readonly #deliver: (events: readonly AuditEvent[]) => void;
  readonly #loss: LossMeter;
  #batch: AuditEvent[] = [];
  #isHeld = false;
  #malformed = 0;
  #newestTime = 0;
  /** Unusable events and records without a header that were already reported as lost. */
  #reported = 0;

  /**
   * @param deliver receives events in the order in which they ended, some at a time
   * @param options `endRecords`: see Reassembler; `before` and `beganLive`: see LossMeter
   */
  constructor(
    deliver: (events: readonly AuditEvent[]) => void,
    {
      endRecords = true,
      before,
      beganLive = false,
    }: { endRecords?: boolean; before?: number | undefined; beganLive?: boolean } = {},
  ) {
    this.#deliver = deliver;
    this.#loss = new LossMeter({ before, beganLive });
    const mayLackBeginning = (serial: number) => this.#loss.isFromBeginning(serial);
    this.#reassembler = new Reassembler((event) => this.#batch.push(event), { endRecords, mayLackBeginning });
  }

  /** See LossMeter.settledAt. */
  get settledAt(): Duration | undefined {
    return this.#loss.settledAt;
  }

  /** The latest time of a record: in milliseconds since the epoch; 0 before the first one. */
  get newestTime(): number {
    return this.#newestTime;
  }

  /** Counts of incomplete, late and malformed records, for the log. */
  get counts(): Readonly<Record<'missing' | 'late' | 'malformed', number>> {
    const { missing, late } = this.#reassembler.counts;
    return { missing, late, malformed: this.#malformed };
  }

  /** See Reassembler.waitingSince. */
  get waitingSince(): Duration | undefined {
    return this.#reassembler.waitingSince;
  }

  /**
   * Takes one record of `buffer`: its header begins at `from`, its text ends before `to`.
   *
   * @param now of the monotonic clock
   */
  take(type: number, buffer: Buffer, from: number, to: number, now: Duration): void {
    const header = readHeader(buffer, from);
    if (header === undefined || header.bodyAt > to) {
      this.#malformed += 1;
      return;
    }
    this.#loss.see(header.serial);
    if (header.time > this.#newestTime) this.#newestTime = header.time;
    if (!this.#reassembler.wants(type)) return;
    const text = header.bodyAt === to ? '' : buffer.toString('latin1', header.bodyAt, to);
    this.#reassembler.accept(type, header, text, now);
    if (this.#batch.length >= EVENTS_PER_BATCH) this.deliver();
  }

  /** Keeps complete events until `release`. */
  hold(): void {
    this.#isHeld = true;
  }

  release(): void {
    this.#isHeld = false;
  }

  /** Delivers complete events. */
  deliver(): void {
    if (this.#batch.length === 0 || this.#isHeld) return;
    const events = this.#batch;
    this.#batch = [];
    this.#deliver(events);
  }

  /** Delivers events that have waited long enough for further records. */
  expire(now: Duration): void {
    this.#reassembler.expire(now);
    this.deliver();
  }

  /** Delivers everything: nothing more will come. */
  flush(): void {
    this.#reassembler.flush();
    this.deliver();
  }

  /** See Reassembler.forgetRemains. */
  forgetRemains(): void {
    this.#reassembler.forgetRemains();
  }

  /** See Reassembler.excluded. */
  setExcluded(types: ReadonlySet<number>): void {
    this.#reassembler.excluded = types;
  }

  /** The kernel's present count of lost records. */
  setKernelLost(lost: number): void {
    this.#loss.setKernelLost(lost, this.#reassembler.counts.missing);
  }

  /**
   * Events found to be lost since the last call; see LossMeter.take.
   *
   * @param last nothing more will come
   */
  takeLost(now: Duration, last = false): number {
    const unusable = this.#reassembler.counts.unusable + this.#malformed;
    const newly = unusable - this.#reported;
    this.#reported = unusable;
    return this.#loss.take(now, last) + newly;
  }
}
