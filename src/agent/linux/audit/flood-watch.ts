import type { Clock } from '../../../core/base/clock.ts';
import { type Duration, LONG_AGO, milliseconds, minutes, seconds } from '../../../core/base/duration.ts';
import { AgentError } from '../../../core/base/errors.ts';
import type { Logger } from '../../../core/base/log.ts';
import { userIdsOf } from '../../../core/contract/owner.ts';
import type { AuditFlood } from '../../../core/contract/streams.ts';
import type { AuditEvent } from './event.ts';
import { Exclusions } from './exclusions.ts';
import type { AuditStatus } from './status.ts';
import { type OwnerLoad, recordsOf, UserLoad } from './user-load.ts';

/** The time in which losses degrade the collector. */
const PERIOD = minutes(5);
const BUCKET = seconds(10);
const BUCKETS = PERIOD / BUCKET;
/** The share of lost events from which on the collector is degraded, and the least number. */
const TOO_MANY = 0.01;
const FEW = 10;

interface Bucket {
  readonly since: Duration;
  arrived: number;
  lost: number;
}

/** Numbers of audit events that arrived and that were lost within the last five minutes. */
export class RecentLosses {
  #buckets: Bucket[] = [];

  add(now: Duration, { arrived = 0, lost = 0 }: { readonly arrived?: number; readonly lost?: number }): void {
    let bucket = this.#buckets.at(-1);
    if (bucket === undefined || now - bucket.since >= BUCKET) {
      bucket = { since: now, arrived: 0, lost: 0 };
      this.#buckets.push(bucket);
      if (this.#buckets.length > BUCKETS) this.#buckets.shift();
    }
    bucket.arrived += arrived;
    bucket.lost += lost;
  }

  /** How many events were lost within five minutes, if that is more than 1 %. */
  tooMany(now: Duration): { readonly lost: number; readonly share: number } | undefined {
    const from = milliseconds(now - PERIOD);
    this.#buckets = this.#buckets.filter(({ since }) => since > from);
    let [arrived, lost] = [0, 0];
    for (const bucket of this.#buckets) {
      arrived += bucket.arrived;
      lost += bucket.lost;
    }
    const share = lost / Math.max(1, arrived + lost);
    return lost >= FEW && share > TOO_MANY ? { lost, share } : undefined;
  }
}

/** The interval of looks while much arrives, or starts are excluded. */
const LOOK_EVERY = milliseconds(250);
/** The interval of looks at the number of excluded starts. */
const RATE_EVERY = seconds(2);
const MANY_RECORDS = 100;
/** The time of records by which the users who flood are known, at least. */
const LATELY = seconds(10);
/**
 * Records that wait in the kernel, as a part of its limit, above which events will soon be lost: at once, and when it lasts.
 * Those that did not fit into the receive buffer wait elsewhere, and are not among them.
 */
const NEARLY_FULL = 0.25;
const FILLING = 0.0625;
const FILLING_FOR = seconds(1);
/** Age of the newest event read, above which reading counts as too slow: on a slow device the kernel's queue may never fill. */
const BEHIND = seconds(5);
/** How long after the end of an exclusion its last starts are still compared, and losses due to its flood. */
const LAST_LOOKS = seconds(10);
/** One alert and one line of the log for each user in this time. */
const ANNOUNCE_AGAIN = minutes(1);
const MAX_ANNOUNCED = 256;

/** Counts the starts that audit does not report. */
export interface StartCounter {
  /** Takes the events of audit. */
  see(events: readonly AuditEvent[]): void;
  /** @throws when starts can no longer be counted */
  read(): void;
  /** Number of all starts since the last call. */
  takeExecuted(): number;
  /** Newly known excluded starts. @param until everything that audit reports up to it has arrived */
  take(until: Date): number;
  close(): void;
}

interface Parts {
  readonly clock: Clock;
  readonly log: Logger;
  /** Called when `problem` has changed. */
  readonly changed?: (() => void) | undefined;
  /** Called when a user floods audit, so that events are lost or their starts are excluded: once a minute for each user. */
  readonly flooded?: ((flood: AuditFlood) => void) | undefined;
  /** Called with the number of starts that audit did not report, since they were excluded. */
  readonly excluded?: ((count: number) => void) | undefined;
  /** Begins to count excluded starts; throws when that is not possible. Without it, nothing is excluded. */
  readonly countStarts?: ((clock: Clock) => StartCounter) | undefined;
}

/** Who caused losses, with a share of the records. */
interface Culprit {
  readonly owner: number;
  readonly share: number;
}

/**
 * Watches how many audit events are lost, and by whose doing. While events are lost, or the kernel's queue fills up, starts of
 * the users who cause most events are to be excluded (`excludedOwners`); they are counted from the process connector. Without
 * the connector nothing is excluded, since nothing would count it.
 */
export class FloodWatch {
  readonly #parts: Parts;
  readonly #load = new UserLoad();
  readonly #losses = new RecentLosses();
  readonly #exclusions = new Exclusions();
  readonly #announced = new Map<number, Duration>();
  #lookedAt: Duration;
  #lostSinceLook = 0;
  #recordsSinceLook = 0;
  #arrived = 0;
  #agedAt: Duration;
  #fillingSince: Duration | undefined;
  /** The newest event since the last look. */
  #newest: AuditEvent | undefined;
  #rate = 0;
  #rateAt: Duration;
  /** The owner of most records when events were last lost. */
  #culprit: Culprit | undefined;
  /** Up to then, losses are due to the users that are excluded, or were just now. */
  #floodUntil = LONG_AGO;
  #starts: StartCounter | undefined;
  /** When the last exclusion ended. */
  #endedAt: Duration | undefined;
  #problem: string | undefined;
  /** The excluded owners at the last look, as text. */
  #inForce = '';

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#lookedAt = parts.clock.monotonic();
    this.#agedAt = this.#lookedAt;
    this.#rateAt = this.#lookedAt;
  }

  /** The owners whose starts the kernel is to leave out; see ownerOfId. */
  get excludedOwners(): readonly number[] {
    return this.#exclusions.owners;
  }

  /** Why events are missing; `undefined` when few or none are. */
  get problem(): string | undefined {
    return this.#problem;
  }

  see(events: readonly AuditEvent[]): void {
    this.#load.add(events);
    this.#arrived += events.length;
    this.#newest = events.at(-1) ?? this.#newest;
    this.#starts?.see(events);
  }

  lose(count: number): void {
    this.#lostSinceLook += count;
    this.#losses.add(this.#parts.clock.monotonic(), { lost: count });
  }

  /** Whether `look` is due. @param records number of records that were just read */
  isDue(records: number): boolean {
    const { clock } = this.#parts;
    this.#recordsSinceLook += records;
    const isBusy = this.#recordsSinceLook >= MANY_RECORDS || this.#starts !== undefined || this.#lostSinceLook > 0;
    return isBusy && clock.monotonic() - this.#lookedAt >= LOOK_EVERY;
  }

  /**
   * @param status audit's present status
   * @param mayExclude whether the agent is the only reader of audit, and may change its rules
   * @returns whether `excludedOwners` has changed
   */
  look({ backlog = 0, backlogLimit }: AuditStatus, mayExclude: boolean): boolean {
    const now = this.#parts.clock.monotonic();
    this.#lookedAt = now;
    this.#losses.add(now, { arrived: this.#arrived });
    const owners = this.#load.owners();
    const isLosing = this.#lostSinceLook > 0;
    const isHigh = isLosing || this.#isFilling(backlog / backlogLimit, now);
    if (!mayExclude) this.#exclusions.clear();
    const pressure = { isHigh: isHigh && mayExclude, owners, excludedRate: this.#excludedRate(now) };
    let added = this.#exclusions.look(now, pressure);
    if (added.length > 0 && !this.#canCount()) {
      this.#exclusions.clear();
      added = [];
    }
    const all = recordsOf(owners);
    const shares = (load: OwnerLoad): Culprit => ({ owner: load.owner, share: load.records / all });
    // Losses become known late: they are due to the flood that was excluded, and not to a user who makes records since then.
    const suspect = added[0] ?? (isLosing && now >= this.#floodUntil ? owners[0] : undefined);
    if (suspect !== undefined) this.#culprit = shares(suspect);
    if (this.#exclusions.owners.length > 0) this.#floodUntil = milliseconds(now + LAST_LOOKS);
    this.#judge(now);
    for (const each of added) this.#announce(shares(each), now);
    if (this.#problem !== undefined && isLosing && this.#culprit !== undefined) this.#announce(this.#culprit, now);
    this.#arrived = 0;
    this.#newest = undefined;
    this.#lostSinceLook = 0;
    this.#recordsSinceLook = 0;
    return this.#hasChanged(now);
  }

  #isFilling(part: number, now: Duration): boolean {
    const isFilling = part >= FILLING || this.#isBehind();
    this.#fillingSince = isFilling ? (this.#fillingSince ?? now) : undefined;
    const lasts = this.#fillingSince !== undefined && now - this.#fillingSince >= FILLING_FOR;
    return part >= NEARLY_FULL || lasts;
  }

  #isBehind(): boolean {
    return this.#newest !== undefined && this.#parts.clock.now().getTime() - this.#newest.time.getTime() >= BEHIND;
  }

  /** Starts a second, as far as the process connector was read. */
  #excludedRate(now: Duration): number {
    const took = now - this.#rateAt;
    if (took >= RATE_EVERY) {
      this.#rate = ((this.#starts?.takeExecuted() ?? 0) * seconds(1)) / took;
      this.#rateAt = now;
    }
    return this.#rate;
  }

  /** Whether `excludedOwners` has changed since the last call. What was counted before does not count against anybody. */
  #hasChanged(now: Duration): boolean {
    const inForce = this.#exclusions.owners.join();
    const hasChanged = inForce !== this.#inForce;
    if (hasChanged) {
      this.#inForce = inForce;
      this.#endedAt = inForce === '' ? now : undefined;
      this.#load.clear();
      this.#agedAt = now;
    } else if (now - this.#agedAt >= LATELY) {
      this.#load.age();
      this.#agedAt = now;
    }
    return hasChanged;
  }

  /** Counts excluded starts. @param until everything that audit reports up to it has arrived, or is lost */
  settle(until: Date): void {
    const starts = this.#starts;
    if (starts === undefined) return;
    try {
      starts.read();
    } catch (err) {
      this.#parts.log.warn({ err }, 'Could not count the excluded starts of programs; ended the exclusions.');
      this.#exclusions.clear();
      this.close();
      return;
    }
    const excluded = starts.take(until);
    if (excluded > 0) this.#parts.excluded?.(excluded);
    const isOver = this.#exclusions.owners.length === 0;
    const over = this.#endedAt ?? this.#lookedAt;
    if (isOver && this.#parts.clock.monotonic() - over >= LAST_LOOKS) this.close();
  }

  /** Ends all exclusions, and counts what was left out. */
  close(): void {
    const excluded = this.#starts?.take(new Date(Number.MAX_SAFE_INTEGER)) ?? 0;
    if (excluded > 0) this.#parts.excluded?.(excluded);
    this.#starts?.close();
    this.#starts = undefined;
    this.#endedAt = undefined;
    this.#exclusions.clear();
  }

  #canCount(): boolean {
    const { clock, countStarts, log } = this.#parts;
    if (countStarts === undefined) return false;
    try {
      this.#starts ??= countStarts(clock);
      return true;
    } catch (err) {
      log.debug({ err }, 'Excluded starts cannot be counted, so none are excluded.');
      return false;
    }
  }

  #judge(now: Duration): void {
    const tooMany = this.#losses.tooMany(now);
    const excluded = this.#exclusions.owners;
    const percent = Math.max(1, Math.round((tooMany?.share ?? 0) * 100));
    const by = this.#culprit === undefined ? '' : ` ${nameOf(this.#culprit.owner)} caused most of the records.`;
    const parts = [
      ...(tooMany === undefined
        ? []
        : [`The kernel lost ${tooMany.lost} audit events within five minutes (${percent} %).${by}`]),
      ...(excluded.length === 0 ? [] : [`Starts of ${excluded.map(nameOf).join(', ')} are only counted.`]),
    ];
    const problem = parts.length === 0 ? undefined : parts.join(' ');
    const hasChanged = (problem === undefined) !== (this.#problem === undefined);
    this.#problem = problem;
    if (hasChanged) this.#parts.changed?.();
  }

  #announce({ owner, share }: Culprit, now: Duration): void {
    if (now - (this.#announced.get(owner) ?? LONG_AGO) < ANNOUNCE_AGAIN) return;
    if (this.#announced.size >= MAX_ANNOUNCED) this.#announced.clear();
    this.#announced.set(owner, now);
    const { clock, log, flooded } = this.#parts;
    const lost = this.#losses.tooMany(now)?.lost ?? this.#lostSinceLook;
    const percent = Math.round(share * 100);
    const end = this.#exclusions.endOf(owner);
    const until = end === undefined ? undefined : new Date(clock.now().getTime() + end - now);
    const { first } = userIdsOf(owner);
    flooded?.({ time: clock.now(), userId: first, lost, share: percent, excludedUntil: until });
    const excluded =
      until === undefined
        ? ''
        : ` Until ${until.toISOString()} at the latest, starts of this user's programs are only counted, except set-user-id programs.`;
    const err = new AgentError(
      'AUDIT_FLOODED',
      `${nameOf(owner)} causes ${percent} % of the audit records; ${lost} events were lost.${excluded}`,
      `Find out what this user runs: ps -fu ${first}. Limit its sessions: sudo systemctl set-property user-${first}.slice CPUQuota=20%`,
    );
    log.warn({ err }, "A user floods the kernel's audit.");
  }
}

/** `user 2001`, or the range of a block of subordinate ids. */
function nameOf(owner: number): string {
  const { first, last } = userIdsOf(owner);
  return first === last ? `user ${first}` : `users ${first} to ${last}`;
}
