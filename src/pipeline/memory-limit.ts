import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { untilBeat } from '../base/beat.ts';
import type { Clock } from '../base/clock.ts';
import { type Duration, hours, milliseconds, minutes, seconds } from '../base/duration.ts';
import type { Logger } from '../base/log.ts';
import { keepGoing } from '../base/loop.ts';
import type { Service } from '../base/service.ts';
import type { Collector } from '../contract/collector.ts';
import type { Priority } from '../contract/event.ts';

const MEGABYTE = 1024 * 1024;
const LOOK_EVERY = seconds(1);
/**
 * Looks that must find too much, with no minute between them in which none does. The first of them make the agent give
 * back what it doesn't need.
 */
const LOOKS = 5;
/** The start has been made, and the first snapshots taken: most of what they needed isn't needed again. */
const FIRST_TRIM = minutes(1);
const TRIM_EVERY = hours(1);
/** How often it gives back again while that doesn't suffice: a full collection takes some 50 ms. */
const RELIEVE_EVERY = seconds(30);
/** It ends when less than this part of the budget was in use for so long: what was given back has come again by then. */
const CALM = 0.9;
const CALM_FOR = minutes(1);
const REMIND_EVERY = minutes(60);

/** What the agent takes, of what it may. */
export interface MemoryUse {
  readonly residentBytes: number;
  readonly budgetBytes: number;
  /** Whether Low events are left out on account of it. */
  readonly isOver: boolean;
}

/**
 * Keeps the agent's resident memory low: a minute after the start, and every hour, what nobody uses is given back. And
 * keeps it within its budget, as far as it can: above it, the same is done at once; if that doesn't suffice, events of
 * priority Low are left out, and counted as dropped.
 *
 * Events of priority High go on whatever happens: what they take has bounds of its own (windows, queues, caches). So do
 * Operational events, which are few, and tell of what was lost. And it never ends by itself but by taking less: a budget
 * below what the agent needs at rest leaves Low events out for good. That is said in the status and in the log, every
 * hour, rather than that a limit somebody has set is given up.
 */
export class MemoryLimit implements Service {
  readonly name = 'memory limit';
  readonly #budgetBytes: number;
  readonly #resident: () => number;
  readonly #trim: () => void;
  readonly #flush: () => void;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #changed: () => void;
  readonly #stop = new AbortController();
  #loop: Promise<void> = Promise.resolve();
  #looksOver = 0;
  #overAt = milliseconds(Number.NEGATIVE_INFINITY);
  #trimAt: Duration;
  #relievedAt = milliseconds(Number.NEGATIVE_INFINITY);
  #calmSince: Duration | undefined;
  /** While events are left out. */
  #spell: { readonly since: Duration; readonly reason: string; mostBytes: number; saidAt: Duration } | undefined;

  constructor(options: {
    budgetInMegabytes: number;
    /** Resident memory in bytes; process.memoryUsage.rss. */
    resident: () => number;
    /** Gives back what nobody uses. May take some 100 ms. */
    trim: () => void;
    /** Moves on what waits in memory, so that a trim finds more. */
    flush: () => void;
    clock: Clock;
    log: Logger;
    /** Told when leaving out has begun or ended. */
    changed: () => void;
  }) {
    this.#budgetBytes = options.budgetInMegabytes * MEGABYTE;
    this.#resident = options.resident;
    this.#trim = options.trim;
    this.#flush = options.flush;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#changed = options.changed;
    this.#trimAt = milliseconds(options.clock.monotonic() + FIRST_TRIM);
  }

  async start(): Promise<void> {
    const turn = async (signal: AbortSignal) => {
      this.#look();
      await this.#clock.sleep(untilBeat(this.#clock, LOOK_EVERY), signal);
    };
    this.#loop = keepGoing(turn, { signal: this.#stop.signal, clock: this.#clock, log: this.#log });
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
  }

  use(): MemoryUse {
    return {
      residentBytes: this.#resident(),
      budgetBytes: this.#budgetBytes,
      isOver: this.#spell !== undefined,
    };
  }

  /** Why the events of a collector are left out now; `undefined` when they aren't. */
  leavesOut({ type }: Pick<Collector, 'type'>, priority: Priority): string | undefined {
    return priority === 'Low' && type !== 'Operational' ? this.#spell?.reason : undefined;
  }

  #look(): void {
    const now = this.#clock.monotonic();
    if (now >= this.#trimAt) {
      this.#trimAt = milliseconds(now + TRIM_EVERY);
      this.#trim();
    }
    const bytes = this.#resident();
    if (bytes > this.#budgetBytes) this.#isOver(bytes, now);
    else this.#isWithin(bytes, now);
  }

  #isOver(bytes: number, now: Duration): void {
    this.#looksOver += 1;
    this.#overAt = now;
    this.#calmSince = undefined;
    if (this.#spell === undefined && this.#looksOver >= LOOKS) this.#begin(bytes, now);
    else if (this.#spell === undefined || now - this.#relievedAt >= RELIEVE_EVERY) {
      this.#relievedAt = now;
      this.#flush();
      this.#trim();
    }
    if (this.#spell === undefined) return;
    this.#spell.mostBytes = Math.max(this.#spell.mostBytes, bytes);
    if (now - this.#spell.saidAt < REMIND_EVERY) return;
    this.#spell.saidAt = now;
    this.#say('warn', bytes, 'Still takes more memory than its budget; Low events are left out and counted.');
  }

  #isWithin(bytes: number, now: Duration): void {
    if (now - this.#overAt >= CALM_FOR) this.#looksOver = 0;
    if (this.#spell === undefined) return;
    this.#calmSince = bytes < CALM * this.#budgetBytes ? (this.#calmSince ?? now) : undefined;
    if (this.#calmSince !== undefined && now - this.#calmSince >= CALM_FOR) this.#end(bytes, now);
  }

  #begin(bytes: number, now: Duration): void {
    // Said first: the line may become a Low event itself.
    this.#say('warn', bytes, 'Takes more memory than its budget; Low events are left out and counted.');
    const reason =
      `Left out since the agent takes ${inMegabytes(bytes)} MB of memory, more than its budget of ` +
      `${inMegabytes(this.#budgetBytes)}: raise memoryBudgetInMegabytes, or let the module twin ask for less.`;
    this.#spell = { since: now, reason, mostBytes: bytes, saidAt: now };
    this.#changed();
  }

  #end(bytes: number, now: Duration): void {
    const { since = now, mostBytes = bytes } = this.#spell ?? {};
    this.#spell = undefined;
    this.#calmSince = undefined;
    const figures = { lastedMs: now - since, mostBytes };
    this.#say('info', bytes, 'Is within its memory budget again; Low events are collected again.', figures);
    this.#changed();
  }

  #say(level: 'info' | 'warn', residentBytes: number, what: string, figures: object = {}): void {
    this.#log[level]({ residentBytes, budgetBytes: this.#budgetBytes, ...figures }, what);
  }
}

const inMegabytes = (bytes: number) => Math.round(bytes / MEGABYTE);

let collect: (() => void) | undefined;

/**
 * Has V8 collect all garbage now. By itself it lets freed memory lie until it needs some: 200 MB of garbage were still
 * resident after 5 s of rest, 92 MB were left 1.5 s after this.
 */
export function collectGarbage(): void {
  if (collect === undefined) {
    setFlagsFromString('--expose-gc'); // for contexts made from now on
    collect = runInNewContext('gc') as () => void;
  }
  collect();
}
