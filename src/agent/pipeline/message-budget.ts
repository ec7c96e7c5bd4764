import * as v from 'valibot';
import type { Clock } from '../../core/base/clock.ts';
import { days, hours } from '../../core/base/duration.ts';
import type { Logger } from '../../core/base/log.ts';
import type { Service } from '../../core/base/service.ts';
import { QUEUES, type QueueName } from '../../core/contract/event.ts';
import { readStateJson } from '../state/read-state.ts';
import type { StateFiles, When } from '../state/state-files.ts';
import { BudgetDay, KeptDay } from './budget-day.ts';
import { ownerInWords, type Use } from './event-owner.ts';
import { KeptShares, UnitShares } from './unit-shares.ts';

/** The part of the day's units that is available when the day begins; the rest is added evenly over the day. */
const AT_START = 1 / 4;
/** The part of the day's units that is reserved for alerts and notices. */
const RESERVE = 1 / 10;
/** The part of all units that have been spent from up to which a queue is sent: High is still sent when Low is held. */
const PARTS: Readonly<Record<QueueName, number>> = { Low: 0.8, High: 1 - RESERVE };
/** The part of Low's units that one owner may use, and of the reserve. */
const OWN_PART = 1 / 2;
/** A held queue is sent again when the units of this time have been added: several small messages cost more units. */
const RESUME_AFTER = hours(0.5) / days(1);

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const BudgetState = v.object({
  ...KeptDay,
  units: count,
  reserve: v.optional(count, 0),
  owners: v.optional(KeptShares, {}),
});

/** The budget, as the status reports it. */
export interface BudgetUse {
  readonly unitsToday: number;
  /** 0: no limit. */
  readonly unitsPerDay: number;
  /** `user 2001`; absent if no user has used any. */
  readonly mostUsedBy?: string;
  /** Units that this user has used. */
  readonly mostUnits?: number;
  /** `user 2001, user 2002`: whose Low events wait because they have used their share. */
  readonly overShare?: string;
  /** Present while a queue is held. */
  readonly held?: HeldMessages;
}

export interface HeldMessages {
  /** `Low`, `High, Low` or `High, Low, alerts`. */
  readonly queues: string;
  /** RFC 3339, UTC. */
  readonly until: string;
  readonly reason: string;
}

/** The budget, as the publisher uses it. */
export interface Budget {
  /** Units that a queue may use now. `isUrgent`: of the reserve for alerts and notices. */
  left(queue: QueueName, isUrgent?: boolean): number;
  /** Units that a queue may use in a day. */
  maxUnits(queue: QueueName): number;
  /** Units that Low events of an owner may use now. */
  shareOfLow(owner: string): number;
  /** Units of the reserve that an alert may use now. */
  shareOfReserve(owner: string, rule: string): ReserveShare;
  spend(units: number, uses: readonly Use[], isUrgent: boolean): void;
  /** Call this for units that the hub has not billed. */
  refund(units: number, uses: readonly Use[], isUrgent: boolean): void;
  /** Call this when the next message of a queue exceeds the units that are left. @param needed units of that message */
  hold(queue: QueueName, needed: number): void;
  isHeld(queue: QueueName): boolean;
  /** Call this when urgent events of a held queue cannot be sent either, and when none is left. */
  holdAlerts(isHeld: boolean): void;
  /** Call this with the owners whose Low events wait because the owners have used their share. */
  noteOverShare(owners: ReadonlySet<string>): void;
}

/** `turn`: 0 if the owner has had none of the reserve today, 1 if this rule has had none for the owner, else 2. */
export interface ReserveShare {
  readonly turn: 0 | 1 | 2;
  readonly units: number;
}

const ANY = Number.POSITIVE_INFINITY;

export const NO_BUDGET: Budget = {
  left: () => ANY,
  maxUnits: () => ANY,
  shareOfLow: () => ANY,
  shareOfReserve: () => ({ turn: 0, units: ANY }),
  spend: () => {},
  refund: () => {},
  hold: () => {},
  isHeld: () => false,
  holdAlerts: () => {},
  noteOverShare: () => {},
};

/**
 * Limits the agent's costs: units of 4 KB per UTC day, as the hub bills them, persisted across restarts.
 *
 * A quarter of the units is available when the day begins, the rest is added evenly over the day, and what is not used is
 * kept until the day ends. So a user that uses up the units silences the device for an hour, not until midnight. Low messages are
 * held first, then High ones. The reserve for alerts and change notices is separate, and is refilled in the same way.
 *
 * An owner (see contract/owner.ts) may use half of what the others have left of Low's units and of the reserve: one owner at
 * most half, two together three quarters. However many there are, something is left for the next one.
 */
export class MessageBudget implements Budget, Service {
  readonly name = 'message budget';
  readonly #file: string;
  readonly #unitsPerDay: number;
  /** Units a day that are reserved for urgent events; 0 if there are too few to reserve any. */
  readonly #reserve: number;
  readonly #log: Logger;
  readonly #files: StateFiles;
  readonly #changed: () => void;
  readonly #day: BudgetDay;
  readonly #shares = new UnitShares();
  /** Units that must be left before a queue is sent again. */
  readonly #held = new Map<QueueName, number>();
  /** Held queues that were logged today. */
  readonly #logged = new Set<QueueName>();
  #cannotSendAlerts = false;
  #overShare = '';
  #units = 0;
  /** The part of `#units` that was taken from the reserve. */
  #reserveUsed = 0;
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
    this.#reserve = Math.floor(options.unitsPerDay * RESERVE);
    this.#log = options.log;
    this.#files = options.files;
    this.#changed = options.changed;
    this.#day = new BudgetDay(options.clock);
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
    if (this.#unitsPerDay === 0) return ANY;
    const isFromReserve = isUrgent && this.#reserve > 0;
    const left = isFromReserve
      ? this.#available(this.#reserve) - this.#reserveUsed
      : this.#available(this.#partOf(queue) * this.#unitsPerDay) - this.#general;
    return Math.max(0, Math.floor(Math.min(left, this.#unitsPerDay - this.#units)));
  }

  maxUnits(queue: QueueName): number {
    return this.#unitsPerDay === 0 ? ANY : Math.max(1, Math.floor(this.#partOf(queue) * this.#unitsPerDay));
  }

  shareOfLow(owner: string): number {
    if (this.#unitsPerDay === 0) return ANY;
    const { low } = this.#shares.of(owner);
    return ownShare(this.#available(PARTS.Low * this.#unitsPerDay) - this.#general, low);
  }

  shareOfReserve(owner: string, rule: string): ReserveShare {
    const left = this.left('High', true);
    const { reserve } = this.#shares.of(owner);
    if (reserve === 0 || this.#reserve === 0) return { turn: 0, units: left };
    const own = ownShare(left, reserve);
    return this.#shares.isServed(owner, rule) ? { turn: 2, units: own * OWN_PART } : { turn: 1, units: own };
  }

  /** Call this before each attempt: a message may have been billed even if it is not acknowledged. */
  spend(units: number, uses: readonly Use[] = [], isUrgent = false): void {
    this.#count(units, uses, isUrgent);
    this.#write('later'); // with the number of the next message, where the disk is spared
  }

  refund(units: number, uses: readonly Use[] = [], isUrgent = false): void {
    this.#count(-units, uses, isUrgent);
  }

  hold(queue: QueueName, needed = 1): void {
    const resume = Math.floor(this.#partOf(queue) * this.#unitsPerDay * (1 - AT_START) * RESUME_AFTER);
    const wasHeld = this.isHeld(queue);
    this.#held.set(queue, Math.max(1, needed, resume));
    if (wasHeld) return;
    if (!this.#logged.has(queue)) {
      this.#logged.add(queue);
      const figures = { queue, unitsToday: this.#units, unitsPerDay: this.#unitsPerDay, until: this.#until() };
      this.#log.warn(
        figures,
        'The daily budget of message units is used up for now; holding messages until it refills.',
      );
    }
    this.#changed();
  }

  isHeld(queue: QueueName): boolean {
    this.#look();
    const needed = this.#held.get(queue);
    if (needed !== undefined && this.left(queue) >= needed) {
      this.#held.delete(queue);
      this.#changed();
    }
    return this.#held.has(queue) || (queue === 'Low' && this.isHeld('High'));
  }

  holdAlerts(isHeld: boolean): void {
    if (this.#cannotSendAlerts === isHeld) return;
    this.#cannotSendAlerts = isHeld;
    this.#changed();
  }

  /** Whether alerts wait for units. */
  get areAlertsHeld(): boolean {
    return this.#cannotSendAlerts && this.isHeld('High');
  }

  noteOverShare(owners: ReadonlySet<string>): void {
    const names = [...owners].slice(0, MAX_NAMES).map(ownerInWords).sort().join(', ');
    if (names === this.#overShare) return;
    this.#overShare = names;
    this.#changed();
  }

  use(): BudgetUse {
    this.#look();
    const most = this.#shares.most();
    const held = QUEUES.filter((queue) => this.isHeld(queue));
    const use = {
      unitsToday: this.#units,
      unitsPerDay: this.#unitsPerDay,
      ...(most === undefined
        ? {}
        : { mostUsedBy: ownerInWords(most.owner), mostUnits: Math.min(this.#units, Math.ceil(most.units)) }),
      ...(this.#overShare === '' ? {} : { overShare: this.#overShare }),
    };
    if (held.length === 0) return use;
    const until = this.#until();
    const by = most === undefined ? '' : `, most of it by ${ownerInWords(most.owner)}`;
    const reason =
      `Held until ${until}: what was available of the daily budget of ${this.#unitsPerDay} message units is used up${by}; ` +
      'more becomes available during the day. Turn events off in the module twin, or raise limits.messageUnitsPerDay in ' +
      'the local configuration.';
    const queues = [...held, ...(this.areAlertsHeld ? ['alerts'] : [])].join(', ');
    return { ...use, held: { queues, until, reason } };
  }

  /** Units that were not taken from the reserve. */
  get #general(): number {
    return this.#units - this.#reserveUsed;
  }

  /** High takes what can't be reserved. */
  #partOf(queue: QueueName): number {
    return queue === 'High' && this.#reserve === 0 ? 1 : PARTS[queue];
  }

  /** Of so many units a day, those that are available by now, used ones included. At least one: a small limit may be used, too. */
  #available(perDay: number): number {
    return Math.max(1, perDay * (AT_START + (1 - AT_START) * this.#day.passed));
  }

  #count(units: number, uses: readonly Use[], isUrgent: boolean): void {
    const isFromReserve = isUrgent && this.#reserve > 0;
    this.#units = Math.max(0, this.#units + units);
    if (isFromReserve) this.#reserveUsed = Math.max(0, this.#reserveUsed + units);
    this.#shares.count(units, uses, isFromReserve);
  }

  /** Renews the budget if a new day has begun. */
  #look(): void {
    if (!this.#day.renew() || this.#units === 0) return;
    this.#units = 0;
    this.#reserveUsed = 0;
    this.#shares.clear();
    this.#logged.clear();
    this.#overShare = '';
    const wasHeld = this.#held.size > 0;
    this.#held.clear();
    this.#cannotSendAlerts = false;
    this.#write();
    if (!wasHeld) return;
    this.#log.info('The daily budget of message units was renewed; sending held messages.');
    this.#changed();
  }

  /** When the first of the held queues will be sent again. */
  #until(): string {
    const parts = [...this.#held].map(([queue, needed]) => {
      const perDay = this.#partOf(queue) * this.#unitsPerDay;
      return ((this.#general + needed) / perDay - AT_START) / (1 - AT_START);
    });
    return this.#day.timeOf(Math.min(...parts)).toISOString();
  }

  /** An unreadable file counts as an unused budget. */
  #read(): void {
    if (this.#unitsPerDay === 0) return;
    try {
      const kept = readStateJson(this.#file, (value) => v.parse(BudgetState, value));
      if (kept === undefined) return;
      const { units, reserve, owners, ...day } = kept;
      this.#day.restore(day);
      this.#units = units;
      this.#reserveUsed = Math.min(units, reserve);
      this.#shares.restore(owners);
    } catch (error) {
      this.#log.debug({ err: error }, 'Could not read the used message units.');
    }
  }

  #write(when: When = 'soon'): void {
    if (this.#unitsPerDay === 0) return;
    const kept: v.InferOutput<typeof BudgetState> = {
      ...this.#day.toJson(),
      units: this.#units,
      reserve: this.#reserveUsed,
      owners: this.#shares.toJson(),
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

/** Maximum number of owners that the status names. */
const MAX_NAMES = 5;

/** Units that an owner may still use. Together with its used units, they are half of the units that others have left. */
const ownShare = (left: number, used: number): number => Math.max(0, (left + used) * OWN_PART - used);
