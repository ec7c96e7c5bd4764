import type { Clock, Stall } from './clock.ts';
import { type Duration, hours, LONG_AGO, milliseconds, minutes, seconds } from './duration.ts';

/** Shorter stalls are ignored: they come from load, or from a disk that is slow occasionally. */
const REPORTED_FROM = seconds(2);
/** How often CPU time is sampled, to determine how much of a stall was computing. */
const CPU_EVERY = seconds(1);
/** Within this time after a report, only a longer stall is reported. */
const REPORT_INTERVAL = minutes(10);
/** How long the last stall is remembered. */
const REMEMBERED = hours(1);
/**
 * From this share of CPU time on, the process computed during a stall. Low, since other processes compete for the CPU.
 */
const COMPUTES = 0.2;

/** `held up for 241 s (waiting for the system, or stopped; during the snapshot ListeningPorts)`. */
export const describeStall = ({ length, computed, during }: Stall): string => {
  const what = computed ? 'computing' : 'waiting for the system, or stopped';
  return `held up for ${Math.round(length / 1_000)} s (${what}${during === undefined ? '' : `; ${during}`})`;
};

/**
 * A clock that detects a blocked event loop: sleeps then end late. It needs no timer and causes no wake-ups. Suspending
 * the machine is not a stall, since the monotonic clock does not advance while it is suspended.
 */
export class StallClock implements Clock {
  readonly #clock: Clock;
  readonly #cpuUsage: () => { user: number; system: number };
  readonly #underWay = new Map<object, string>();
  #onStall: (stall: Stall) => void = () => {};
  #last: Stall | undefined;
  #lastReported: Stall | undefined;
  #lastWoken: string | undefined;
  #cpuAt: Duration;
  #cpuUsed: number;

  /** @param cpuUsage of this process since its start, in microseconds */
  constructor(clock: Clock, cpuUsage: () => { user: number; system: number } = () => process.cpuUsage()) {
    this.#clock = clock;
    this.#cpuUsage = cpuUsage;
    this.#cpuAt = clock.monotonic();
    this.#cpuUsed = this.#cpu();
  }

  /** Calls `listener` on stalls, at a limited rate. */
  onStall(listener: (stall: Stall) => void): void {
    this.#onStall = listener;
  }

  /** The last stall, unless it is more than an hour ago. */
  lastStall(): Stall | undefined {
    const last = this.#last;
    return last === undefined || this.monotonic() - last.ended > REMEMBERED ? undefined : last;
  }

  /** The same clock, for a part of the agent that stalls may be attributed to. */
  part(name: string): Clock {
    return {
      now: () => this.now(),
      monotonic: () => this.monotonic(),
      sinceBoot: () => this.sinceBoot(),
      fromKernel: (nanoseconds) => this.fromKernel(nanoseconds),
      within: (limit, what, work) => this.within(limit, what, work),
      sleep: (wait, signal) => this.#sleep(wait, signal, name),
      lastStall: () => this.lastStall(),
    };
  }

  now(): Date {
    return this.#clock.now();
  }

  monotonic(): Duration {
    return this.#clock.monotonic();
  }

  sinceBoot(): Duration | undefined {
    return this.#clock.sinceBoot?.();
  }

  fromKernel(nanoseconds: bigint | number): Date {
    return this.#clock.fromKernel(nanoseconds);
  }

  sleep(wait: Duration, signal?: AbortSignal): Promise<void> {
    return this.#sleep(wait, signal, undefined);
  }

  async within<T>(limit: Duration, what: string, work: Promise<T>): Promise<T> {
    const token = {};
    this.#underWay.set(token, what);
    try {
      return await this.#clock.within(limit, what, work);
    } finally {
      this.#underWay.delete(token);
    }
  }

  async #sleep(wait: Duration, signal: AbortSignal | undefined, part: string | undefined): Promise<void> {
    const due = milliseconds(this.monotonic() + wait);
    await this.#clock.sleep(wait, signal);
    if (signal?.aborted !== true) this.#afterSleep(due);
    this.#lastWoken = part;
  }

  #afterSleep(due: Duration): void {
    const now = this.monotonic();
    const from = Math.max(due, this.#last?.ended ?? LONG_AGO);
    if (now - from >= REPORTED_FROM) this.#stalled(milliseconds(now - from), now);
    if (now - this.#cpuAt >= CPU_EVERY) {
      this.#cpuAt = now;
      this.#cpuUsed = this.#cpu();
    }
  }

  #stalled(length: Duration, now: Duration): void {
    const computed = (this.#cpu() - this.#cpuUsed) / (now - this.#cpuAt) >= COMPUTES;
    const during = this.#suspect();
    this.#last = { length, ended: now, at: this.now(), computed, ...(during === undefined ? {} : { during }) };
    const isNew =
      this.#lastReported === undefined ||
      now - this.#lastReported.ended > REPORT_INTERVAL ||
      length > this.#lastReported.length;
    if (!isNew) return;
    this.#lastReported = this.#last;
    this.#onStall(this.#last);
  }

  #suspect(): string | undefined {
    const [underWay] = [...this.#underWay.values()].slice(-1);
    if (underWay !== undefined) return `during ${underWay}`;
    return this.#lastWoken === undefined ? undefined : `last to run: ${this.#lastWoken}`;
  }

  /** In milliseconds. */
  #cpu(): number {
    const { user, system } = this.#cpuUsage();
    return (user + system) / 1_000;
  }
}

/** The clock for a part of the agent: `clock` itself if it does not detect stalls. */
export const clockOf = (clock: Clock, part: string): Clock => (clock instanceof StallClock ? clock.part(part) : clock);
