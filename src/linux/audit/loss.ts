import { type Duration, seconds } from '../../base/duration.ts';

/** How long a serial may be outstanding before it counts as lost. Of the order of the kernel's own retries, times 20. */
const PATIENCE = seconds(2);
/** Serials whose fate is remembered, a power of two: two seconds of more events than a machine can make. */
const WINDOW = 65_536;
const MASK = WINDOW - 1;
/**
 * Serials come out of order. One that is missing so close behind the first that came may have been given out before anybody
 * listened; it isn't lost, since the receive buffer was empty.
 */
export const UNSETTLED_SERIALS = 64;

/**
 * How many events audit has lost on the way to us, as one figure. There are three ways, and two traces:
 *
 * 1. The kernel's backlog is full when the event's first record is to be made. The event gets no serial; the kernel's
 *    `lost` rises by one for it.
 * 2. The receive buffer is full, then the kernel's retry queue. The event has a serial, which never arrives; `lost` stays
 *    as it is (the retry and hold queues drop silently unless the kernel was booted with audit=1).
 * 3. Some records of an event come and others don't, by either way. The event arrives incomplete, so it isn't lost; a
 *    rise of `lost` for its missing records must not be counted.
 *
 * So: missing serials, plus the rise of `lost`, less the records that events were seen to lack. ENOBUFS only says that (2)
 * happened, not how often, and adds nothing. An event that is refused later records by (1) and has its first one dropped
 * by (2) counts for each; the figure can be too high by that, never too low.
 *
 * Measured on 6.18 (gaps without loss would spoil it): execs that work and fail, 4 loops at once, CONFIG_CHANGE, user
 * messages, LOGIN, ANOM_ABEND, and record types that are excluded (PATH, PROCTITLE, BPRM_FCAPS, SYSCALL, CONFIG_CHANGE,
 * user messages) leave no gap at all in 10,700 serials: the filter comes before the serial is drawn. Serials do come out
 * of order, 5 % of them with 4 loops on 2 cores. A reader that slept through 10,004 execs found 6,027, 3,683 gaps and a
 * rise of `lost` by 296: two too many.
 *
 * Losses after the last serial that arrived show when the next one does; removing the rules makes one, so at the end
 * nothing is left open.
 */
export class LossMeter {
  readonly #before: number | undefined;
  readonly #beganLive: boolean;
  /** For each serial of the window, whether it came. Ones from before the beginning count as come. */
  readonly #came = new Uint8Array(WINDOW).fill(1);
  #started = false;
  #first = 0;
  /** The highest serial, in the order of their counting. */
  #newest = 0;
  /** Up to here the missing ones have been counted. */
  #settled = 0;
  #checkpoint = 0;
  #checkpointAt: Duration | undefined;
  #settledAt: Duration | undefined;
  #missing = 0;
  #refused = 0;
  #kernelLost: number | undefined;
  #lacking = 0;

  /**
   * @param options `before`: serials up to this one have come, as far as anybody knows; `beganLive`: the first record came
   *   from the kernel as it was made, so that those made just before it didn't
   */
  constructor({ before, beganLive = false }: { before?: number | undefined; beganLive?: boolean } = {}) {
    this.#before = before;
    this.#beganLive = beganLive;
  }

  /** When `take` was called with what came up to here, all that was lost by then is known; `undefined` until then. */
  get settledAt(): Duration | undefined {
    return this.#settledAt;
  }

  /** Whether an event may have begun before anybody listened. */
  isFromBeginning(serial: number): boolean {
    return this.#beganLive && this.#started && ((serial - this.#first) | 0) <= UNSETTLED_SERIALS;
  }

  /** A record of this serial has come. */
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
      if (-ahead >= WINDOW || this.#came[serial & MASK] === 1) return;
      this.#came[serial & MASK] = 1;
      if (((this.#settled - serial) | 0) >= 0) this.#missing -= 1; // was given up, and comes after all
      return;
    }
    if (ahead >= WINDOW / 2) {
      this.#settle(this.#newest);
      this.#missing += ahead - 1;
      this.#came.fill(1);
      this.#settled = (serial - 1) >>> 0;
      this.#checkpoint = this.#settled;
    } else {
      // The window must not run over serials that nobody has counted yet.
      const behind = (serial - WINDOW) >>> 0;
      if (((behind - this.#settled) | 0) > 0) this.#settle(this.#newest);
      for (let step = 1; step < ahead; step += 1) {
        const between = (this.#newest + step) >>> 0;
        const cameBefore = this.#before !== undefined && ((between - this.#before) | 0) <= 0;
        this.#came[between & MASK] = Number(cameBefore || this.isFromBeginning(between));
      }
    }
    this.#came[serial & MASK] = 1;
    this.#newest = serial;
  }

  /** The kernel's `lost` as it stands, and how many records the events given out so far lacked. */
  kernelSays(lost: number, lacking: number): void {
    const rise = this.#kernelLost === undefined ? 0 : Math.max(0, lost - this.#kernelLost);
    this.#kernelLost = lost;
    this.#refused += Math.max(0, rise - (lacking - this.#lacking));
    this.#lacking = lacking;
  }

  /**
   * Events found to be lost since this was last asked. To be called when the socket has just been drained, so that what
   * is outstanding isn't simply unread.
   *
   * @param last nothing more will come: what is outstanding is lost
   */
  take(now: Duration, last = false): number {
    if (last) this.#settle(this.#newest);
    else if (this.#checkpointAt === undefined || now - this.#checkpointAt >= PATIENCE) {
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
      if (this.#came[(this.#settled + step) & MASK] === 0) this.#missing += 1;
    }
    if (count > 0) this.#settled = upTo;
  }
}
