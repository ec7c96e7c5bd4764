import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Clock } from '../../core/base/clock.ts';
import { type Duration, hours, LONG_AGO, milliseconds, minutes, NEVER, seconds } from '../../core/base/duration.ts';
import type { Logger } from '../../core/base/log.ts';
import { Loop } from '../../core/base/loop.ts';
import type { Service } from '../../core/base/service.ts';
import { nextTurn, untilBeat } from '../../core/base/waiting.ts';
import type { Collector } from '../../core/contract/collector.ts';
import type { Priority } from '../../core/contract/event.ts';
import type { UserLoad } from './user-load.ts';

const MEGABYTE = 1024 * 1024;
const LOOK_EVERY = seconds(2);
/**
 * Measurements above the budget after which Low events are left out. A minute without one resets the count. Before
 * that, each of them makes the agent release memory.
 */
const LOOKS = 5;
/**
 * After the start. By the first, the detection rules have been read, which leaves 10 MB of garbage; by the second, the first
 * snapshots have been taken. Most memory that this needed is not needed again.
 */
const FIRST_TRIMS = [seconds(5), minutes(1)] as const;
const TRIM_EVERY = hours(1);
/**
 * Memory is also released when it has grown to this multiple of what the last release left, but not before TRIM_AGAIN: what
 * busy minutes leave behind is not held for an hour, and memory that is needed permanently is not searched repeatedly.
 */
const GROWN = 1.5;
const TRIM_AGAIN = minutes(5);
/** Minimum time between attempts to release memory: a full garbage collection takes about 50 ms. */
const RELIEVE_EVERY = seconds(30);
/**
 * Low events are collected again after memory has stayed within the budget for this time. Released memory that is still needed has
 * been allocated again by then. With RELIEVE_EVERY, a shortage ends less than a minute after its cause.
 */
const CALM_FOR = seconds(20);
/** Above this share of the budget, unused memory is still released during a shortage. */
const CALM_SHARE = 0.9;
/** After this time without a measurement above the budget, LOOKS are counted from zero. */
const LOOKS_COUNT_FOR = minutes(1);
const REMIND_EVERY = minutes(60);

/** The agent's memory use and budget. */
export interface MemoryUse {
  readonly residentBytes: number;
  readonly budgetBytes: number;
  /** Whether Low events are left out because of it. */
  readonly isOver: boolean;
}

/**
 * Keeps the agent's resident memory low and, if possible, within its budget. Unused memory is released soon after the
 * start, every hour, when memory use has grown by half, and when the budget is exceeded. If that is not enough, Low events are
 * left out and counted as dropped: first those of the user who caused most lately, every 30 s those of the next user, and only
 * when no user causes much, those of root and of everyone.
 *
 * Snapshots are few and bounded, and are never left out, like High events, whose memory has limits of its own (windows, queues,
 * caches), and Operational events, which are few and report the losses. Low events are left out until memory use falls: with a
 * budget below what the idle agent needs, that is permanent. A configured limit is not relaxed; the status and an hourly log line
 * report it.
 */
export class MemoryLimit implements Service {
  readonly name = 'memory limit';
  readonly #budgetBytes: number;
  readonly #resident: (enough?: number) => number;
  readonly #trim: () => Promise<void>;
  readonly #flush: () => void;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #changed: () => void;
  readonly #loop: Loop;
  #looksOver = 0;
  #overAt = LONG_AGO;
  /** When to release unused memory next: times soon after the start, then one an hour. */
  readonly #trims: Duration[];
  /** The last release, and what it left. */
  #trimmed: { readonly at: Duration; readonly bytes: number } | undefined;
  #relievedAt = LONG_AGO;
  #calmSince: Duration | undefined;
  readonly #load: Pick<UserLoad, 'heaviest'>;
  /** Users whose Low events are left out. */
  readonly #users = new Set<string>();
  /** While events are left out. */
  #spell: Spell | undefined;

  constructor(options: {
    budgetInMegabytes: number;
    /**
     * Memory of the process in bytes, as the budget counts it: without pages of files. May be too much, if that is not more
     * than `enough`.
     */
    resident: (enough?: number) => number;
    /** Releases unused memory. May block for about 50 ms, twice. */
    trim: () => Promise<void>;
    /** Writes out what is held in memory, so that `trim` can release more. */
    flush: () => void;
    /** What each user's events have taken lately. */
    load: Pick<UserLoad, 'heaviest'>;
    clock: Clock;
    log: Logger;
    /** Called when Low events begin or cease to be left out. */
    changed: () => void;
  }) {
    this.#budgetBytes = options.budgetInMegabytes * MEGABYTE;
    this.#resident = options.resident;
    this.#trim = options.trim;
    this.#flush = options.flush;
    this.#load = options.load;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#loop = new Loop(async (signal) => {
      await this.#look();
      await this.#clock.sleep(untilBeat(this.#clock, LOOK_EVERY), signal);
    }, options);
    this.#changed = options.changed;
    this.#trims = FIRST_TRIMS.map((after) => milliseconds(options.clock.monotonic() + after));
  }

  async start(): Promise<void> {
    this.#loop.start();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
  }

  use(): MemoryUse {
    return {
      residentBytes: this.#resident(),
      budgetBytes: this.#budgetBytes,
      isOver: this.#spell !== undefined,
    };
  }

  /** Why a collector's events are left out now, those of all users or of some; `undefined` if they are not. */
  leavesOut(collector: Concerned, priority: Priority): string | undefined {
    return isConcerned(collector, priority) ? this.#spell?.reason : undefined;
  }

  /** Whether all events of a collector are left out now. */
  leavesOutAll(collector: Concerned, priority: Priority): boolean {
    return this.#spell?.ofAll === true && isConcerned(collector, priority);
  }

  /** Whether a collector's events of an owner are left out now; see ownerOf. */
  leavesOutOwner(owner: string | undefined, collector: Concerned, priority: Priority): boolean {
    return owner !== undefined && this.#users.has(owner) && isConcerned(collector, priority);
  }

  async #look(): Promise<void> {
    const now = this.#clock.monotonic();
    const enough = this.#spell === undefined ? this.#budgetBytes : 0;
    const looked = this.#resident(Math.min(enough, this.#grownAt()));
    const bytes = this.#isDue(now) || this.#hasGrown(looked, now) ? await this.#release(now) : looked;
    if (bytes > this.#budgetBytes) await this.#isOver(bytes, now);
    else await this.#isWithin(bytes, now);
  }

  #isDue(now: Duration): boolean {
    if (now < (this.#trims[0] ?? NEVER)) return false;
    this.#trims.shift();
    if (this.#trims.length === 0) this.#trims.push(milliseconds(now + TRIM_EVERY));
    return true;
  }

  #hasGrown(bytes: number, now: Duration): boolean {
    return bytes > this.#grownAt() && now - (this.#trimmed?.at ?? now) >= TRIM_AGAIN;
  }

  #grownAt(): number {
    return GROWN * (this.#trimmed?.bytes ?? Number.POSITIVE_INFINITY);
  }

  /** @returns what is left */
  async #release(now: Duration): Promise<number> {
    await this.#trim();
    const bytes = this.#resident();
    this.#trimmed = { at: now, bytes };
    return bytes;
  }

  async #isOver(bytes: number, now: Duration): Promise<void> {
    this.#looksOver += 1;
    this.#overAt = now;
    this.#calmSince = undefined;
    if (this.#spell === undefined && this.#looksOver >= LOOKS) this.#begin(bytes, now);
    else if (this.#spell === undefined) await this.#releaseMemory(now);
    else await this.#relieveAgain(now);
    if (this.#spell === undefined) return;
    this.#spell.mostBytes = Math.max(this.#spell.mostBytes, bytes);
    this.#widen(this.#spell, bytes, now);
    if (now - this.#spell.loggedAt < REMIND_EVERY) return;
    this.#spell.loggedAt = now;
    this.#logState('warn', bytes, 'Memory use still exceeds the budget; Low events are dropped and counted.');
  }

  async #releaseMemory(now: Duration): Promise<void> {
    this.#relievedAt = now;
    this.#flush();
    await this.#release(now);
  }

  async #relieveAgain(now: Duration): Promise<void> {
    if (now - this.#relievedAt >= RELIEVE_EVERY) await this.#releaseMemory(now);
  }

  async #isWithin(bytes: number, now: Duration): Promise<void> {
    if (now - this.#overAt >= LOOKS_COUNT_FOR) this.#looksOver = 0;
    if (this.#spell === undefined) return;
    this.#calmSince ??= now;
    // Otherwise the shortage would begin again soon after its end. Windows of aggregation stay open: the budget is kept.
    if (bytes >= CALM_SHARE * this.#budgetBytes && now - this.#relievedAt >= RELIEVE_EVERY) {
      this.#relievedAt = now;
      await this.#release(now);
    }
    if (now - this.#calmSince >= CALM_FOR) this.#end(bytes, now);
  }

  #begin(bytes: number, now: Duration): void {
    // Logged before `#spell` is set: the line may become a Low event itself.
    this.#logState('warn', bytes, 'Memory use exceeds the budget; Low events are dropped and counted.');
    this.#spell = { since: now, reason: '', ofAll: false, widenedAt: LONG_AGO, mostBytes: bytes, loggedAt: now };
    this.#widen(this.#spell, bytes, now);
  }

  /** Leaves out the events of one user more, or of all if no other user causes much. */
  #widen(spell: Spell, bytes: number, now: Duration): void {
    if (spell.ofAll || now - spell.widenedAt < RELIEVE_EVERY) return;
    spell.widenedAt = now;
    const user = this.#load.heaviest(this.#users);
    spell.ofAll = user === undefined;
    if (user !== undefined) {
      this.#logState('warn', bytes, 'Memory is short; the Low events of the user who causes most are dropped.', {
        user,
      });
      this.#users.add(user);
    }
    spell.reason =
      `Left out${spell.ofAll ? '' : ` for ${[...this.#users].join(', ')}`}: the agent uses ${inMegabytes(bytes)} MB of memory, ` +
      `more than its budget of ${inMegabytes(this.#budgetBytes)} MB. ` +
      'Raise memoryBudgetInMegabytes, or turn events off in the module twin.';
    this.#changed();
  }

  #end(bytes: number, now: Duration): void {
    const { since = now, mostBytes = bytes } = this.#spell ?? {};
    this.#spell = undefined;
    this.#users.clear();
    this.#calmSince = undefined;
    const figures = { lastedMs: now - since, mostBytes };
    this.#logState('info', bytes, 'Memory use is within the budget again; Low events are collected again.', figures);
    this.#changed();
  }

  #logState(level: 'info' | 'warn', residentBytes: number, what: string, figures: object = {}): void {
    this.#log[level]({ residentBytes, budgetBytes: this.#budgetBytes, ...figures }, what);
  }
}

/** A time in which events are left out. */
interface Spell {
  readonly since: Duration;
  /** For the status. It changes only with what is left out, since each change costs a report. */
  reason: string;
  /** Whether Low events of all users are left out, not only those of some. */
  ofAll: boolean;
  widenedAt: Duration;
  mostBytes: number;
  loggedAt: Duration;
}

type Concerned = Pick<Collector, 'type' | 'category'>;

const isConcerned = ({ type, category }: Concerned, priority: Priority): boolean =>
  priority === 'Low' && type !== 'Operational' && category !== 'Periodic';

const inMegabytes = (bytes: number) => Math.round(bytes / MEGABYTE);

let collect: (() => void) | undefined;

/**
 * Runs two full garbage collections with a turn of the event loop between them, about 50 and 100 ms. V8 on its own keeps garbage
 * until it needs memory. What the first one finds, V8 returns to the system only when it collects again: under attack, 86 of
 * 89 MB were resident after one, and 57 after two. The second one moves objects together: otherwise a page with one object
 * stays whole, and under attack only 48 of 69 MB of pages were used.
 */
export async function collectGarbage(): Promise<void> {
  if (collect === undefined) {
    setFlagsFromString('--expose-gc'); // for contexts made from now on
    collect = runInNewContext('gc') as () => void;
    setFlagsFromString('--no-expose-gc'); // a code cache fits only a process with the same flags as the one that made it
  }
  collect();
  await nextTurn();
  setFlagsFromString('--compact-on-every-full-gc');
  try {
    collect();
  } finally {
    setFlagsFromString('--no-compact-on-every-full-gc');
  }
}
