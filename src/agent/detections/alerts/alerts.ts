import * as v from 'valibot';
import type { Clock } from '../../../core/base/clock.ts';
import { type Duration, milliseconds, minutes } from '../../../core/base/duration.ts';
import type { Logger } from '../../../core/base/log.ts';
import { stableId } from '../../../core/base/stable-id.ts';
import { ALERT_LEVELS, type AlertLevel } from '../../../core/contract/event.ts';
import type { AlertRaised } from '../../../core/contract/streams.ts';
import { type Hit, levelOf } from '../subject.ts';
import { evidenceOf } from './evidence.ts';
import { Exceptions } from './exceptions.ts';
import { HeldAlerts, SavedHeldAlerts } from './held-alerts.ts';
import { AlertHistory } from './history.ts';
import { keyOf, userOf } from './hit-fields.ts';
import { type Evidence, type KeptAlert, recordOf, trimmed } from './kept-alert.ts';
import { OpenAlerts, SavedOpenAlerts, WINDOW } from './open-alerts.ts';
import { type AlertPolicy, alertTypeOf, isBelow, offReason, type SuppressedBy } from './policy.ts';
import { Silence } from './silence.ts';
import { StartChains } from './start-chains.ts';
import { UserLimits } from './user-limits.ts';

/** Minimum time between two requests for an early message. */
const EARLY = minutes(1);

/** Counts of hits since the start, by result: hits = alerts + counted + the sum of suppressed. */
export interface AlertAccounts {
  readonly hits: number;
  readonly alerts: number;
  /** Hits counted by an open alert. */
  readonly counted: number;
  readonly suppressed: Readonly<Partial<Record<SuppressedBy, number>>>;
}

/** For the status. */
export interface AlertsStatus extends AlertAccounts {
  readonly bySeverity: Readonly<Record<AlertLevel, number>>;
  readonly last?: { readonly type: string; readonly severity: AlertLevel; readonly at: string };
  readonly silencedUntil?: string;
  /** Value of the setting, if it was rejected. */
  readonly silenceRefused?: string;
  /** Number of matches, keyed by id of the exception. */
  readonly exceptions: Readonly<Record<string, number>>;
  /** Ids of exceptions that have expired or matched nothing for 90 days, joined by `;`. */
  readonly unusedExceptions?: string;
}

/**
 * Turns hits into alerts. The first hit of a key is sent immediately, later ones within the hour as an update, and hits above the
 * limits of a user as one summary for this user. Every hit is counted, see AlertAccounts.
 *
 * Uses the monotonic clock, so that steps of the wall clock neither close a window nor lift a limit.
 */
export class Alerts {
  readonly #raise: (record: AlertRaised) => void;
  readonly #sendEarly: () => void;
  readonly #policy: () => AlertPolicy;
  readonly #origin: string;
  readonly #redact: boolean;
  readonly #clock: Pick<Clock, 'now' | 'monotonic'>;
  readonly #log: Logger;
  readonly #changed: () => void;
  readonly #dueEarlier: () => void;
  readonly #open: OpenAlerts;
  readonly #held: HeldAlerts;
  readonly #limits = new UserLimits();
  readonly #chains = new StartChains();
  readonly #exceptions: Exceptions;
  readonly #silence: Silence;
  readonly #suppressed = new Map<SuppressedBy, number>();
  readonly #bySeverity = new Map<AlertLevel, number>();
  #hits = 0;
  #alerts = 0;
  #counted = 0;
  #last: AlertsStatus['last'];
  /** Time of the last request for an early message, and whether another one is pending. */
  #earlyAt: Duration | undefined;
  #isEarlyDue = false;

  /** The last alerts, for `vakt alerts`. */
  readonly history = new AlertHistory();

  constructor(options: {
    /** Receives each alert and update. */
    raise: (record: AlertRaised) => void;
    /** Requests that a message is sent before its time. */
    sendEarly: () => void;
    policy: () => AlertPolicy;
    /** Identifies this agent, so that the ids of its alerts are unique. */
    origin: string;
    /** Whether secrets in command lines are redacted. Default: true. */
    redact?: boolean;
    clock: Pick<Clock, 'now' | 'monotonic'>;
    log: Logger;
    /** Called when there is state to save. */
    changed?: () => void;
    /** Called when `tick` is due earlier than it last returned. */
    dueEarlier?: () => void;
  }) {
    this.#raise = options.raise;
    this.#sendEarly = options.sendEarly;
    this.#policy = options.policy;
    this.#origin = options.origin;
    this.#redact = options.redact ?? true;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#changed = options.changed ?? (() => {});
    this.#dueEarlier = options.dueEarlier ?? (() => {});
    this.#open = new OpenAlerts((alert) => {
      this.#changed();
      this.#report(alert, 'Security alert, seen again.');
    });
    this.#held = new HeldAlerts((alert, isNew) => {
      this.#changed();
      if (isNew) {
        this.#countSeverity(alert);
        this.#sendSoon();
      }
      this.#report(alert, 'Security alerts held back.');
    });
    this.#exceptions = new Exceptions(this.#changed);
    this.#silence = new Silence(options.clock, this.#changed);
  }

  /** @returns whether the policy lets the hit be reported: as an alert, in the count of an open alert, or in a summary */
  take(hit: Hit): boolean {
    this.#hits += 1;
    this.#changed();
    const suppressedBy = this.#suppression(hit);
    if (suppressedBy === undefined) this.#admit(hit);
    else this.#suppress(suppressedBy);
    return suppressedBy === undefined;
  }

  #admit(hit: Hit): void {
    const now = this.#clock.monotonic();
    const { rule, subject } = hit;
    const { time } = subject;
    // A harmless hit of a trusted actor must not open an alert that then only counts the hits of an attack.
    const during = hit.during === undefined ? '' : ` during ${hit.during}`;
    const key = stableId(`${rule.id} ${keyOf(hit)}${during}`);
    const type = alertTypeOf(rule);
    const evidence = () => evidenceOf(hit, type, { redact: this.#redact });
    if (this.#open.has(key, now)) {
      this.#counted += 1;
      this.#chains.add(hit, key, now);
      if (this.#open.count(key, { time, now, evidence })) this.#dueEarlier();
      return;
    }
    const ofChain = this.#chains.find(hit, now);
    if (ofChain !== undefined && this.#open.has(ofChain, now)) {
      this.#counted += 1;
      this.#open.count(ofChain, { time, now });
      return;
    }
    const user = userOf(hit);
    const severity = levelOf(hit);
    const alwaysFirst = !isBelow(severity, 'medium');
    const admission = this.#limits.admit(user, rule.id, { alwaysFirst, now });
    if (admission === 'raised') {
      this.#openAlert(key, hit, evidence(), now);
      return;
    }
    this.#suppress(admission);
    const kind = stableId(`${rule.id} ${hit.selections?.join(';') ?? ''}`);
    if (this.#held.add({ user, alertType: type, kind, severity, time, evidence }, now)) this.#dueEarlier();
  }

  /** Sends everything that is due: updates, summaries, an early message. @returns when to call it again, by the monotonic clock */
  tick(): Duration | undefined {
    const now = this.#clock.monotonic();
    const due = [this.#open.tick(now), this.#held.tick(now)].filter((each) => each !== undefined);
    this.#limits.forgetIdle(now);
    this.#askEarly(now);
    if (this.#isEarlyDue && this.#earlyAt !== undefined) due.push(milliseconds(this.#earlyAt + EARLY));
    return due.length === 0 ? undefined : milliseconds(Math.min(...due));
  }

  accounts(): AlertAccounts {
    const suppressed = Object.fromEntries(this.#suppressed) as Partial<Record<SuppressedBy, number>>;
    return { hits: this.#hits, alerts: this.#alerts, counted: this.#counted, suppressed };
  }

  status(): AlertsStatus {
    const { exceptions, silencedUntil } = this.#policy();
    const unused = this.#exceptions.unused(exceptions, this.#clock.now());
    return {
      ...this.accounts(),
      bySeverity: Object.fromEntries(ALERT_LEVELS.map((level) => [level, this.#bySeverity.get(level) ?? 0])) as Record<
        AlertLevel,
        number
      >,
      ...(this.#last === undefined ? {} : { last: this.#last }),
      ...(this.#silence.isInForce(silencedUntil) ? { silencedUntil } : {}),
      ...(this.#silence.isRefused(silencedUntil) ? { silenceRefused: silencedUntil } : {}),
      exceptions: this.#exceptions.counts(exceptions),
      ...(unused.length === 0 ? {} : { unusedExceptions: unused.join(';') }),
    };
  }

  /** For the state on disk. */
  toJson(): unknown {
    const now = this.#clock.monotonic();
    return {
      savedAt: this.#clock.now().getTime(),
      open: this.#open.toJson(now),
      held: this.#held.toJson(now),
      limits: this.#limits.toJson(now),
      history: this.history.toJson(),
      exceptions: this.#exceptions.toJson(),
      silence: this.#silence.toJson(),
    };
  }

  /** Restores the state from `toJson`. Call this before the first hit. A damaged value is ignored. */
  restore(value: unknown): void {
    const checked = v.safeParse(Saved, value);
    if (!checked.success) return;
    const saved = checked.output;
    const now = this.#clock.monotonic();
    // Elapsed wall-clock time. If the clock was set back or far ahead, all windows are closed at most.
    const passed = Math.min(WINDOW, Math.max(0, this.#clock.now().getTime() - saved.savedAt));
    this.#open.restore(saved.open, now, passed);
    this.#held.restore(saved.held ?? [], now, passed);
    this.#limits.restore(saved.limits, now, passed);
    this.history.restore(saved.history);
    this.#exceptions.restore(saved.exceptions);
    this.#silence.restore(saved.silence);
  }

  #suppression(hit: Hit): SuppressedBy | undefined {
    const policy = this.#policy();
    // Uses the rule's own level: an alert that a trusted actor lowers stays visible.
    const off = offReason(hit.rule, policy);
    if (off !== undefined) return off;
    if (this.#exceptions.match(hit, policy.exceptions, this.#clock.now()) !== undefined) return 'exception';
    return this.#silence.isInForce(policy.silencedUntil) ? 'silenced' : undefined;
  }

  #suppress(reason: SuppressedBy): void {
    this.#suppressed.set(reason, (this.#suppressed.get(reason) ?? 0) + 1);
  }

  #openAlert(key: string, hit: Hit, evidence: Evidence, now: Duration): void {
    const { time } = hit.subject;
    const first = Math.min(hit.since ?? time, time);
    const alert: KeptAlert = { ...evidence, alertId: this.#idOf(key, time), count: 1, first, last: time };
    this.#open.add(key, userOf(hit), alert, now);
    this.#chains.add(hit, key, now);
    this.#alerts += 1;
    this.#countSeverity(alert);
    this.#report(alert, 'Security alert.');
  }

  #countSeverity({ severity }: KeptAlert): void {
    this.#bySeverity.set(severity, (this.#bySeverity.get(severity) ?? 0) + 1);
  }

  /**
   * Equal for hits with the same key within an hour of event time. If the agent is killed after raising an alert and before
   * saving its state, the alert gets the same id when the agent reads the event again, or the next one. Another alert of the key
   * within that hour, for example for a late event, gets a different id, which is also reproducible.
   */
  #idOf(key: string, time: number): string {
    const text = `${this.#origin} alert ${key} ${Math.floor(time / WINDOW)}`;
    let id = stableId(text);
    for (let number = 2; this.history.has(id); number += 1) id = stableId(`${text} ${number}`);
    return id;
  }

  #report(alert: KeptAlert, message: string): void {
    const { alertId, alertType, severity, count } = alert;
    const now = this.#clock.now();
    this.history.add(trimmed(alert));
    this.#last = { type: alertType, severity, at: now.toISOString() };
    // Log lines with the field alertId don't become events of their own.
    const fields = { alertId, alertType, severity, rule: alert.ruleId, title: alert.ruleTitle, count };
    if (isUrgent(severity)) this.#log.error(fields, message);
    else if (severity === 'medium') this.#log.warn(fields, message);
    else this.#log.info(fields, message);
    this.#raise(recordOf(alert, now));
    if (isUrgent(severity)) this.#sendSoon();
  }

  #sendSoon(): void {
    this.#isEarlyDue = true;
    this.#askEarly(this.#clock.monotonic());
    if (this.#isEarlyDue) this.#dueEarlier();
  }

  #askEarly(now: Duration): void {
    if (!this.#isEarlyDue || (this.#earlyAt !== undefined && now - this.#earlyAt < EARLY)) return;
    this.#isEarlyDue = false;
    this.#earlyAt = now;
    this.#sendEarly();
  }
}

const isUrgent = (severity: AlertLevel) => severity === 'critical' || severity === 'high';

/** Members that the previous release did not write are optional; its limits are dropped. */
const Saved = v.object({
  savedAt: v.number(),
  open: SavedOpenAlerts,
  held: v.optional(SavedHeldAlerts),
  limits: v.optional(v.unknown()),
  history: v.unknown(),
  exceptions: v.unknown(),
  silence: v.unknown(),
});
