import { type Duration, seconds } from '../../../core/base/duration.ts';

/** How long a serial may be missing before it counts as lost: about 20 times the kernel's own retries. */
const ARRIVAL_LIMIT = seconds(2);
/** Serials tracked, a power of two: two seconds of more events than a machine can make. */
const WINDOW = 65_536;
const MASK = WINDOW - 1;
/**
 * Serials arrive out of order. A missing serial this close after the first one that arrived may have been assigned
 * before listening began. It does not count as lost, since the receive buffer was empty.
 */
export const UNSETTLED_SERIALS = 64;

/**
 * Number of audit events lost on their way to the agent. There are three ways to lose them, and two traces:
 *
 * 1. The kernel's backlog is full when an event's first record is made. The event gets no serial; the kernel's `lost`
 *    increases by one.
 * 2. The receive buffer is full, and then the kernel's retry queue. The event has a serial, which never arrives; `lost` does
 *    not change (the retry and hold queues drop silently unless the kernel was booted with audit=1).
 * 3. Some records of an event are lost, in either way. The event arrives incomplete, so it is not lost; the increase of
 *    `lost` for its missing records must not be counted.
 *
 * So the number is: missing serials, plus the increase of `lost`, minus the records that events were seen to lack. ENOBUFS
 * only says that (2) happened, not how often, and adds nothing. An event whose later records are lost by (1) and whose first
 * one is dropped by (2) counts twice; the number can be too high by that, never too low.
 *
 * Measured on 6.18 (gaps without loss would falsify it): execs that succeed and fail, 4 loops at once, CONFIG_CHANGE, user
 * messages, LOGIN, ANOM_ABEND, and excluded record types (PATH, PROCTITLE, BPRM_FCAPS, SYSCALL, CONFIG_CHANGE, user
 * messages) leave no gap in 10,700 serials: records are filtered before a serial is assigned. 5 % of serials arrive out of
 * order with 4 loops on 2 cores. A reader that paused for 10,004 execs found 6,027, 3,683 gaps and an increase of `lost` by
 * 296: two too many.
 *
 * Losses after the last serial that arrived show when the next one arrives. Removing the rules makes one, so at the end
 * nothing is left open.
 */
export class LossMeter {
  readonly #before: number | undefined;
  readonly #beganLive: boolean;
  /** For each serial of the window, whether it arrived. Those from before the beginning count as arrived. */
  readonly #arrived = new Uint8Array(WINDOW).fill(1);
  #started = false;
  #first = 0;
  /** The highest serial, in counting order. */
  #newest = 0;
  /** Missing serials have been counted up to here. */
  #settled = 0;
  #checkpoint = 0;
  #checkpointAt: Duration | undefined;
  #settledAt: Duration | undefined;
  #missing = 0;
  #refused = 0;
  #kernelLost: number | undefined;
  #lacking = 0;

  /**
   * @param options `before`: serials up to this one have arrived, as far as known; `beganLive`: the first record came directly
   *   from the kernel, so records made just before it were not delivered
   */
  constructor({ before, beganLive = false }: { before?: number | undefined; beganLive?: boolean } = {}) {
    this.#before = before;
    this.#beganLive = beganLive;
  }

  /** The `now` of the `take` call up to which all losses are known; `undefined` until then. */
  get settledAt(): Duration | undefined {
    return this.#settledAt;
  }

  /** Whether an event may have begun before listening began. */
  isFromBeginning(serial: number): boolean {
    return this.#beganLive && this.#started && ((serial - this.#first) | 0) <= UNSETTLED_SERIALS;
  }

  /** Records that a record with this serial arrived. */
  see(serial: number): void {
    if (!this.#started) {
      this.#started = true;
      this.#first = serial;
      this.#newest = serial;
      this.#settled = (serial - 1) >>> 0;
      this.#checkpoint = this.#settled;
    }
    const ahead = (serial - this.#newest) | 0; // signed: right across the wrap at 2^32
    if (ahead <= 0) {
      if (-ahead >= WINDOW || this.#arrived[serial & MASK] === 1) return;
      this.#arrived[serial & MASK] = 1;
      if (((this.#settled - serial) | 0) >= 0) this.#missing -= 1; // counted as missing, but arrived late
      return;
    }
    if (ahead >= WINDOW / 2) {
      this.#settle(this.#newest);
      this.#missing += ahead - 1;
      this.#arrived.fill(1);
      this.#settled = (serial - 1) >>> 0;
      this.#checkpoint = this.#settled;
    } else {
      // The window must not overwrite serials that are not counted yet.
      const behind = (serial - WINDOW) >>> 0;
      if (((behind - this.#settled) | 0) > 0) this.#settle(this.#newest);
      for (let step = 1; step < ahead; step += 1) {
        const between = (this.#newest + step) >>> 0;
        const arrivedBefore = this.#before !== undefined && ((between - this.#before) | 0) <= 0;
        this.#arrived[between & MASK] = Number(arrivedBefore || this.isFromBeginning(between));
      }
    }
    this.#arrived[serial & MASK] = 1;
    this.#newest = serial;
  }

  /** The kernel's present `lost`, and the number of records that events delivered so far lacked. */
  setKernelLost(lost: number, lacking: number): void {
    const increase = this.#kernelLost === undefined ? 0 : Math.max(0, lost - this.#kernelLost);
    this.#kernelLost = lost;
    this.#refused += Math.max(0, increase - (lacking - this.#lacking));
    this.#lacking = lacking;
  }

  /**
   * Events found to be lost since the last call. Call it when the socket was just drained, so that missing events are not
   * merely unread.
   *
   * @param last nothing more will come: everything missing is lost
   */
  take(now: Duration, last = false): number {
    if (last) this.#settle(this.#newest);
    else if (this.#checkpointAt === undefined || now - this.#checkpointAt >= ARRIVAL_LIMIT) {
      if (this.#checkpointAt !== undefined) this.#settle(this.#checkpoint);
      this.#settledAt = this.#checkpointAt;
      this.#checkpoint = this.#newest;
      this.#checkpointAt = now;
    }
    const lost = this.#missing + this.#refused;
    if (lost <= 0) return 0; // below nothing: one that came after all is set against the next that is missing
    this.#missing = 0;
    this.#refused = 0;
    return lost;
  }

  #settle(upTo: number): void {
    const count = (upTo - this.#settled) | 0;
    for (let step = 1; step <= count; step += 1) {
      if (this.#arrived[(this.#settled + step) & MASK] === 0) this.#missing += 1;
    }
    if (count > 0) this.#settled = upTo;
  }
}
