import * as v from 'valibot';
import { readFileIfThere } from '../base/atomic-file.ts';
import { type Clock, elapsedOf, isPlausible } from '../base/clock.ts';
import { type Duration, days, hours, LONG_AGO, milliseconds } from '../base/duration.ts';
import type { Logger } from '../base/log.ts';
import type { Service } from '../base/service.ts';
import type { StateFiles, When } from '../base/state-files.ts';
import { QUEUES, type QueueName } from '../contract/event.ts';

/** The hub bills messages in units of this size, rounded up. Source: "Azure IoT Hub pricing information". */
export const UNIT_BYTES = 4096;

export const unitsOf = (bytes: number): number => Math.ceil(bytes / UNIT_BYTES);

/** The share of the day's units that a queue may use: High is still sent when Low is held. */
const SHARES: Readonly<Record<QueueName, number>> = { Low: 0.8, High: 0.95 };

/** Minimum time after which a new day renews the budget. */
const MIN_AGE = hours(12);
/** Once in this time the budget may be renewed earlier: the agent may have started just before midnight. */
const EARLY_EVERY = hours(24);
const DAY = days(1);
/** Time after which the budget is renewed whatever the wall clock shows; sooner if the clock is not set. */
const LONGEST_AGE: Readonly<Record<'set' | 'unset', Duration>> = { set: hours(36), unset: DAY };
/** Stands for the day while the clock has never been set. */
const NEVER_SET = 0;
const MAX_FILE_CHARACTERS = 4_096;

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const Kept = v.object({
  day: count,
  units: count,
  ageMs: v.pipe(v.number(), v.minValue(0)),
  sinceEarlyMs: v.pipe(v.number(), v.minValue(0)),
  savedAt: v.pipe(v.string(), v.isoTimestamp()),
});

/** The budget, as the status reports it. */
export interface BudgetUse {
  readonly unitsToday: number;
  /** 0: no limit. */
  readonly unitsPerDay: number;
  /** Present while a queue is held. */
  readonly held?: HeldMessages;
}

export interface HeldMessages {
  /** `Low` or `High, Low`. */
  readonly queues: string;
  /** RFC 3339, UTC. */
  readonly until: string;
  readonly reason: string;
}

/** The budget, as the publisher uses it. */
export interface Budget {
  /** Units that a queue may still use today. `isUrgent`: including the last ones, reserved for alerts and notices. */
  left(queue: QueueName, isUrgent?: boolean): number;
  /** Units that a queue may use in a day. */
  maxUnits(queue: QueueName): number;
  spend(units: number): void;
  /** To be called for units that the hub has not billed. */
  refund(units: number): void;
  /** To be called when the next message of a queue exceeds the units that are left. */
  hold(queue: QueueName): void;
  isHeld(queue: QueueName): boolean;
}

export const NO_BUDGET: Budget = {
  left: () => Number.POSITIVE_INFINITY,
  maxUnits: () => Number.POSITIVE_INFINITY,
  spend: () => {},
  refund: () => {},
  hold: () => {},
  isHeld: () => false,
};

/**
 * Limits the agent's costs: units of 4 KB per UTC day, as the hub bills them, persisted across restarts. Low messages
 * are held first, then High ones; the last units are reserved for alerts and change notices.
 *
 * The wall clock may be stepped, by mistake or to get more budget. So a new day renews the budget only after 12 h, except
 * once in 24 h: at most three budgets a day, whatever the clock does. Time in which the device was suspended counts, and
 * up to one day in which the agent was not running. A clock stepped back does not renew the budget at once, and a clock
 * that was years ahead does not hold messages for years.
 */
export class MessageBudget implements Budget, Service {
  readonly name = 'message budget';
  readonly #file: string;
  readonly #unitsPerDay: number;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #files: StateFiles;
  readonly #changed: () => void;
  readonly #held = new Set<QueueName>();
  #units = 0;
  /** Days since the epoch. */
  #day = NEVER_SET;
  /** When the budget was renewed, and renewed early, in elapsed time; before its zero if that was in an earlier run. */
  #renewedAt: Duration;
  #earlyAt = LONG_AGO;
  #cannotWrite = false;

  constructor(options: {
    file: string;
    /** 0: no limit. */
    unitsPerDay: number;
    clock: Clock;
    log: Logger;
    files: StateFiles;
    /** Called when a queue is held, or no longer held. */
    changed: () => void;
  }) {
    this.#file = options.file;
    this.#unitsPerDay = options.unitsPerDay;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#files = options.files;
    this.#changed = options.changed;
    this.#renewedAt = elapsedOf(this.#clock);
  }

  async start(): Promise<void> {
    this.#read();
    this.#look();
  }

  async stop(): Promise<void> {
    this.#write();
  }

  left(queue: QueueName, isUrgent = false): number {
    this.#look();
    if (this.#unitsPerDay === 0) return Number.POSITIVE_INFINITY;
    return Math.max(0, (isUrgent ? this.#unitsPerDay : this.maxUnits(queue)) - this.#units);
  }

  maxUnits(queue: QueueName): number {
    if (this.#unitsPerDay === 0) return Number.POSITIVE_INFINITY;
    const share = this.#unitsPerDay * SHARES[queue];
    return Math.max(1, queue === 'Low' ? Math.floor(share) : Math.ceil(share));
  }

  /** To be called before each attempt: a message may have been billed even if it is not acknowledged. */
  spend(units: number): void {
    this.#units += units;
    this.#write('later'); // with the number of the next message, where the disk is spared
  }

  refund(units: number): void {
    this.#units = Math.max(0, this.#units - units);
  }

  hold(queue: QueueName): void {
    if (this.#held.has(queue)) return;
    this.#held.add(queue);
    const figures = { queue, unitsToday: this.#units, unitsPerDay: this.#unitsPerDay, until: this.#midnight() };
    this.#log.warn(figures, 'The daily budget of message units is used up; holding messages until the next UTC day.');
    this.#changed();
  }

  isHeld(queue: QueueName): boolean {
    this.#look();
    return this.#held.has(queue);
  }

  use(): BudgetUse {
    this.#look();
    const held = QUEUES.filter((queue) => this.#held.has(queue));
    const use = { unitsToday: this.#units, unitsPerDay: this.#unitsPerDay };
    if (held.length === 0) return use;
    const until = this.#midnight();
    const reason =
      `Held until ${until}: the daily budget of ${this.#unitsPerDay} message units is used up. ` +
      'Turn events off in the module twin, or raise limits.messageUnitsPerDay in the local configuration.';
    return { ...use, held: { queues: held.join(', '), until, reason } };
  }

  /** Renews the budget if a new day has begun. */
  #look(): void {
    const now = this.#clock.now();
    const isSet = isPlausible(now);
    const today = isSet ? Math.floor(now.getTime() / DAY) : this.#day;
    if (this.#day === NEVER_SET) this.#day = today;
    const elapsed = elapsedOf(this.#clock);
    const age = elapsed - this.#renewedAt;
    if (age < LONGEST_AGE[isSet ? 'set' : 'unset']) {
      if (today === this.#day) return;
      const mayBeEarly = today > this.#day && elapsed - this.#earlyAt >= EARLY_EVERY;
      if (age < MIN_AGE && !mayBeEarly) return;
      if (age < MIN_AGE) this.#earlyAt = elapsed;
    }
    this.#renew(today);
  }

  #renew(today: number): void {
    this.#day = today;
    this.#renewedAt = elapsedOf(this.#clock);
    if (this.#units === 0) return;
    this.#units = 0;
    const wasHeld = this.#held.size > 0;
    this.#held.clear();
    this.#write();
    if (!wasHeld) return;
    this.#log.info('The daily budget of message units was renewed; sending held messages.');
    this.#changed();
  }

  #midnight(): string {
    const today = Math.floor(this.#clock.now().getTime() / DAY);
    return new Date((today + 1) * DAY).toISOString();
  }

  /** An unreadable file counts as an unused budget. */
  #read(): void {
    if (this.#unitsPerDay === 0) return;
    try {
      const text = readFileIfThere(this.#file);
      if (text === undefined || text.length > MAX_FILE_CHARACTERS) return;
      const { day, units, ageMs, sinceEarlyMs, savedAt } = v.parse(Kept, JSON.parse(text));
      const elapsed = elapsedOf(this.#clock);
      const away = Math.min(DAY, Math.max(0, this.#clock.now().getTime() - Date.parse(savedAt)));
      this.#day = day;
      this.#units = units;
      this.#renewedAt = milliseconds(elapsed - ageMs - away);
      this.#earlyAt = milliseconds(elapsed - sinceEarlyMs - away);
    } catch (error) {
      this.#log.debug({ err: error }, 'Could not read the used message units.');
    }
  }

  #write(when: When = 'soon'): void {
    if (this.#unitsPerDay === 0) return;
    const elapsed = elapsedOf(this.#clock);
    const kept: v.InferOutput<typeof Kept> = {
      day: this.#day,
      units: this.#units,
      ageMs: Math.round(elapsed - this.#renewedAt),
      sinceEarlyMs: Math.min(Math.round(elapsed - this.#earlyAt), EARLY_EVERY),
      savedAt: this.#clock.now().toISOString(),
    };
    const written = (error: unknown) => {
      if (error !== undefined && !this.#cannotWrite)
        this.#log.warn(
          { err: error },
          'Could not save the used message units; after a restart they may count as unused.',
        );
      this.#cannotWrite = error !== undefined;
    };
    this.#files.replace(this.#file, `${JSON.stringify(kept)}\n`, written, when);
  }
}
