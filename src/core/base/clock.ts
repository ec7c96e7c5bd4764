import type { Duration } from './duration.ts';

/** The only way this code base reads or waits for time, so that tests can control it. */
export interface Clock {
  /** Wall-clock time, for timestamps. It can jump; never subtract two of these. */
  now(): Date;
  /**
   * Milliseconds since a fixed instant; never goes back, does not advance while the machine is suspended. For
   * measuring.
   */
  monotonic(): Duration;
  /**
   * Milliseconds since boot, including suspended time; the kernel's CLOCK_BOOTTIME. Absent, or always `undefined`,
   * without native code: no function of Node provides it in every container.
   */
  sinceBoot?(): Duration | undefined;
  /**
   * Converts a CLOCK_MONOTONIC timestamp, which ktime_get_ns() puts into netlink messages, to wall-clock time, accurate
   * to a millisecond. It uses the current wall clock: if that was set since, or the machine was suspended, the result
   * is shifted accordingly. A timestamp in the future counts as now.
   *
   * @param nanoseconds since boot, without suspended time; a double is exact for the first 104 days and to a
   *   microsecond for centuries
   */
  fromKernel(nanoseconds: bigint | number): Date;
  /**
   * Resolves after `wait`, or when `signal` aborts. Any length works, also beyond the 2^31 ms of Node's timers.
   * Never rejects: a stopping agent is not an error.
   */
  sleep(wait: Duration, signal?: AbortSignal): Promise<void>;
  /**
   * Settles as `work` does, or rejects with a TimeLimitError after `limit`. `work` itself continues, since JavaScript
   * cannot stop it. When the event loop was blocked at the end of the limit, that time is added once: Node runs timers
   * before it reads data that arrived while the loop was blocked.
   */
  within<T>(limit: Duration, what: string, work: Promise<T>): Promise<T>;
  /** The last time that the event loop was blocked, if this clock detects stalls; see stall-clock.ts. */
  lastStall?(): Stall | undefined;
}

/** A time in which the event loop of this process was blocked: nothing was read, answered or sent. */
export interface Stall {
  /** The minimum: it may have begun earlier. */
  readonly length: Duration;
  /** When it ended, by the monotonic clock. */
  readonly ended: Duration;
  readonly at: Date;
  /** Whether the process computed; otherwise it waited for the system, or was stopped. */
  readonly computed: boolean;
  /** The likely cause: work that was in progress, or the part that was last woken. */
  readonly during?: string;
}

/**
 * A wall clock before this date, which is older than every release of this agent, counts as not set.
 *
 * A device without a battery-backed clock boots in 1970, or at a date that the image or systemd-timesyncd provides.
 * Such a date is not recognized if it is later than this one. There is no better test: native code, by which adjtimex(2)
 * could be asked for STA_UNSYNC, is optional, and /run/systemd/timesync/synchronized is written by only one of several time
 * services, and not if the clock was right from the start.
 */
export const EARLIEST = new Date('2025-01-01T00:00:00.000Z');

/** Whether a time can come from a clock that is set. */
export const isPlausible = (time: Date): boolean => time.getTime() >= EARLIEST.getTime();

/** A reading of both clocks, to be shared by frequent callers: reading one clock takes 0.1 µs. */
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
 * The wall clock minus the monotonic clock, in milliseconds. It changes when the clock is set or the machine is
 * suspended; NTP's slewing moves it by at most half a millisecond a second.
 */
export const wallOffset = ({ wall, monotonic }: Moment): number => wall - monotonic;

/**
 * Milliseconds since a fixed instant, including suspended time if the clock provides it. For spans of hours and days.
 * Never goes back, and cannot be set.
 */
export const elapsedOf = (clock: Pick<Clock, 'monotonic' | 'sinceBoot'>): Duration =>
  clock.sinceBoot?.() ?? clock.monotonic();

/** `work` given to Clock.within took longer than its limit. */
export class TimeLimitError extends Error {
  override readonly name = 'TimeLimitError';

  constructor(what: string, limit: Duration) {
    super(`${what} took longer than ${limit / 1_000} s`);
  }
}

/** Node keeps a timer's delay in 32 bits; a longer one fires immediately. */
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
  sleep: (wait, signal) => (wait <= LONGEST_TIMER ? sleepOnce(wait, signal) : sleepOften(wait, signal)),
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

/** In milliseconds. A timer that is later than this shows that the process was blocked. */
const HELD_UP = 250;

/** The sleepers that wake in the same millisecond. */
interface Slot {
  readonly sleepers: Set<() => void>;
  /** Call this when the last sleeper has left. */
  readonly end: () => void;
}

/**
 * Sleepers keyed by the rounded millisecond in which they wake, so that all that sleep until one beat share a timer.
 * Node's timers count from the start of the turn that creates them, so that each would wake an idle CPU separately. The
 * outer key is the function that creates timers, since tests replace it.
 */
const slots = new WeakMap<typeof setTimeout, Map<number, Slot>>();
/** In milliseconds. A shorter sleep has its own timer, since a shared one can fire a few milliseconds early. */
const SHARED_FROM = 100;

function slotUntil(due: number, wait: number): Slot {
  const all = slots.get(setTimeout) ?? new Map<number, Slot>();
  slots.set(setTimeout, all);
  const known = all.get(due);
  if (known !== undefined) return known;
  const sleepers: Slot['sleepers'] = new Set();
  const timer = setTimeout(() => {
    for (const wake of sleepers) wake();
  }, wait);
  const end = () => {
    clearTimeout(timer);
    if (all.get(due) === slot) all.delete(due);
  };
  const slot: Slot = { sleepers, end };
  if (wait >= SHARED_FROM) all.set(due, slot);
  return slot;
}

const sleepOnce = (wait: number, signal?: AbortSignal) =>
  new Promise<void>((resolve) => {
    if (signal?.aborted) return resolve();
    const slot = slotUntil(Math.round(performance.now() + wait), wait);
    const done = () => {
      slot.sleepers.delete(done);
      if (slot.sleepers.size === 0) slot.end();
      signal?.removeEventListener('abort', done);
      resolve();
    };
    slot.sleepers.add(done);
    signal?.addEventListener('abort', done, { once: true });
  });

async function sleepOften(wait: number, signal?: AbortSignal): Promise<void> {
  for (let left = wait; left > 0 && signal?.aborted !== true; left -= LONGEST_TIMER) {
    await sleepOnce(Math.min(left, LONGEST_TIMER), signal);
  }
}
