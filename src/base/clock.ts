import type { Duration } from './duration.ts';

/** The only way this code base reads or waits for time, so that tests can hold time in their hand. */
export interface Clock {
  /** Wall-clock time, for timestamps. It can jump; never subtract two of these. */
  now(): Date;
  /** Milliseconds since some fixed instant; never goes back, stands still while the machine sleeps. For measuring. */
  monotonic(): Duration;
  /**
   * The wall-clock time of an instant of the kernel's CLOCK_MONOTONIC, such as ktime_get_ns() puts into what netlink
   * delivers; right to a millisecond. As the wall clock stands now: steps that it made since then are in it, and what
   * was recorded before the machine slept seems to be from after. An instant that is still to come counts as now.
   *
   * @param nanoseconds since boot, without the time that the machine slept; a double is exact for the first 104 days and
   *   to a microsecond for centuries
   */
  fromKernel(nanoseconds: bigint | number): Date;
  /**
   * Resolves after `wait`, or at once when `signal` aborts. Any length works, also beyond the 2^31 ms of Node's timers.
   * Never rejects: a stopping agent is not an error.
   */
  sleep(wait: Duration, signal?: AbortSignal): Promise<void>;
  /**
   * Settles as `work` does, or rejects with a TimeLimitError after `limit`. `work` itself goes on: JavaScript cannot
   * stop it, so whoever calls must be able to forget it. When this process was held up at the end of the limit, the time
   * that it missed is added once: Node runs timers before it reads what has arrived meanwhile.
   */
  within<T>(limit: Duration, what: string, work: Promise<T>): Promise<T>;
  /** The last time that the event loop stood still, where that is looked for; see stall-clock.ts. */
  lastStall?(): Stall | undefined;
}

/** A time in which the event loop of this process stood still: nothing was read, answered or sent. */
export interface Stall {
  /** How long it took, at least. */
  readonly length: Duration;
  /** When it ended, by the monotonic clock. */
  readonly ended: Duration;
  readonly at: Date;
  /** Whether the process computed; else it waited for the system, or was stopped. */
  readonly computed: boolean;
  /** What was under way, or which part had been woken last: most likely it was that. */
  readonly during?: string;
}

/**
 * The wall clock is not set as long as it says something earlier: older than every release of this agent.
 *
 * A device without a clock that its battery keeps begins at 1970, or where the image or systemd-timesyncd says; the first
 * is seen, the second, if it is later than this, isn't. Nothing better is at hand: adjtimex(2), whose STA_UNSYNC tells
 * whether somebody keeps the clock right, is out of Node's reach, and /run/systemd/timesync/synchronized is written by
 * one of several such programs, and not where a clock was right from the start.
 */
export const EARLIEST = new Date('2025-01-01T00:00:00.000Z');

/** Whether a time can be one of a clock that has been set. */
export const isPlausible = (time: Date): boolean => time.getTime() >= EARLIEST.getTime();

/** Both clocks at once, for what is asked often: a look at one of them takes a tenth of a microsecond. */
export interface Moment {
  /** By the wall clock, in milliseconds since the Unix epoch. */
  readonly wall: number;
  readonly monotonic: Duration;
}

export const momentOf = (clock: Pick<Clock, 'now' | 'monotonic'>): Moment => ({
  wall: clock.now().getTime(),
  monotonic: clock.monotonic(),
});

/**
 * The wall clock less the monotonic one, in milliseconds. What changes it is that the clock is set, or that the machine
 * sleeps; NTP's corrections move it by half a millisecond a second.
 */
export const wallOffset = ({ wall, monotonic }: Moment): number => wall - monotonic;

/** `work` given to Clock.within took longer than its limit. */
export class TimeLimitError extends Error {
  override readonly name = 'TimeLimitError';

  constructor(what: string, limit: Duration) {
    super(`${what} took longer than ${limit / 1_000} s`);
  }
}

/** Node keeps a timer's delay in 32 bits; a longer one fires at once. */
const LONGEST_TIMER = 2 ** 31 - 1;

/**
 * Time from the operating system.
 *
 * Uses the global timers on purpose: sinon cannot fake what an ES module imports from `node:timers` or
 * `node:timers/promises`.
 */
export const systemClock: Clock = {
  now: () => new Date(),
  monotonic: () => performance.now() as Duration,
  fromKernel(nanoseconds) {
    // CLOCK_MONOTONIC too: uv_hrtime() in libuv's src/unix/linux.c.
    const [seconds, rest] = process.hrtime();
    const age = seconds * 1_000 + rest / 1e6 - Number(nanoseconds) / 1e6;
    return new Date(Date.now() - Math.max(0, Math.round(age)));
  },
  async sleep(wait, signal) {
    let left: number = wait;
    do {
      await sleepOnce(Math.min(left, LONGEST_TIMER), signal);
      left -= LONGEST_TIMER;
    } while (left > 0 && signal?.aborted !== true);
  },
  within: (limit, what, work) =>
    new Promise((resolve, reject) => {
      const due = performance.now() + limit;
      const expire = () => reject(new TimeLimitError(what, limit));
      let timer = setTimeout(() => {
        const missed = performance.now() - due;
        if (missed < HELD_UP) expire();
        else timer = setTimeout(expire, Math.min(missed, limit));
      }, limit);
      work.then(resolve, reject).finally(() => clearTimeout(timer));
    }),
};

/** A timer that is late by so much shows that the process stood still. */
const HELD_UP = 250;

const sleepOnce = (wait: number, signal?: AbortSignal) =>
  new Promise<void>((resolve) => {
    if (signal?.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, wait);
    signal?.addEventListener('abort', done, { once: true });
  });
