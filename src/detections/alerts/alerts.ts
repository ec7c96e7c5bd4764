import { randomUUID } from 'node:crypto';
import * as v from 'valibot';
import type { Clock } from '../../base/clock.ts';
import { type Duration, hours, milliseconds, minutes } from '../../base/duration.ts';
import type { Logger } from '../../base/log.ts';
import { stableId } from '../../base/stable-id.ts';
import { ALERT_LEVELS, type AlertLevel } from '../../contract/event.ts';
import type { AlertRaised } from '../../contract/streams.ts';
import { type Hit, levelOf } from '../subject.ts';
import { evidenceOf } from './evidence.ts';
import { Exceptions } from './exceptions.ts';
import { FirstAlerts } from './first-alerts.ts';
import { AlertHistory } from './history.ts';
import { keyOf, userOf } from './hit-fields.ts';
import { KeptAlert, recordOf, trimmed } from './kept-alert.ts';
import { type AlertPolicy, alertTypeOf, isBelow, offReason, type SuppressedBy } from './policy.ts';
import { RateLimit } from './rate-limit.ts';
import { Silence } from './silence.ts';

/** How long hits with the key of an alert are counted instead of raising another one, and what limits are for. */
const WINDOW = hours(1);
const MAX_KEYS = 1_024;
const MAX_ALERTS_PER_RULE = 20;
const MAX_ALERTS_PER_DEVICE = 120;
/** Of a rule's id, in UTF-16 units. */
const LONGEST_ID = 256;
/** At most one message is asked for early in this time. */
const EARLY = minutes(1);

/** An alert whose further hits are counted. */
interface Open {
  alert: KeptAlert;
  /** By the monotonic clock. */
  readonly openedAt: Duration;
  /** The count that was last told. */
  told: number;
}

/** Alerts of one type that were above a limit. */
interface Limited {
  alert: KeptAlert;
  readonly since: Duration;
}

/** What became of the hits since the start. hits = alerts + counted + the sum of suppressed. */
export interface AlertAccounts {
  readonly hits: number;
  readonly alerts: number;
  /** Counted by an alert that was already raised. */
  readonly counted: number;
  readonly suppressed: Readonly<Partial<Record<SuppressedBy, number>>>;
}

/** For the status. */
export interface AlertsStatus extends AlertAccounts {
  readonly bySeverity: Readonly<Record<AlertLevel, number>>;
  readonly last?: { readonly type: string; readonly severity: AlertLevel; readonly at: string };
  readonly silencedUntil?: string;
  /** The value of the setting, if it was refused. */
  readonly silenceRefused?: string;
  /** By id of the exception: how often it has matched. */
  readonly exceptions: Readonly<Record<string, number>>;
  /** Ids of exceptions that have expired or matched nothing for 90 days, joined by `;`. */
  readonly unusedExceptions?: string;
}

/**
 * Makes alerts of hits: the first of a key at once, later ones of the hour as one update; what is above the limits as one
 * summary an hour and type. Every hit is counted: see AlertAccounts.
 *
 * Time is measured by the monotonic clock, so that steps of the wall clock neither end a window nor lift a limit.
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
  /** By rule and key, oldest first. */
  readonly #open = new Map<string, Open>();
  /** By type of alert. */
  readonly #limited = new Map<string, Limited>();
  readonly #ruleLimits = new Map<string, RateLimit>();
  readonly #deviceLimit = new RateLimit(MAX_ALERTS_PER_DEVICE, WINDOW);
  readonly #firsts = new FirstAlerts();
  readonly #exceptions: Exceptions;
  readonly #silence: Silence;
  readonly #suppressed = new Map<SuppressedBy, number>();
  readonly #bySeverity = new Map<AlertLevel, number>();
  #hits = 0;
  #alerts = 0;
  #counted = 0;
  #last: AlertsStatus['last'];
  /** When a message was last asked for early, and whether another one is to be asked for. */
  #earlyAt: Duration | undefined;
  #isEarlyDue = false;

  /** The last alerts, for `vakt alerts`. */
  readonly history = new AlertHistory();

  constructor(options: {
    /** Receives each alert and update. */
    raise: (record: AlertRaised) => void;
    /** Asks for a message to be sent before its time. */
    sendEarly: () => void;
    policy: () => AlertPolicy;
    /** Names this agent, so that the ids of its alerts are its own. */
    origin: string;
    /** Whether secrets in command lines are replaced. Absent: they are. */
    redact?: boolean;
    clock: Pick<Clock, 'now' | 'monotonic'>;
    log: Logger;
    /** Called when there is something to be saved. */
    changed?: () => void;
    /** Called when `tick` is due earlier than it said. */
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
    this.#exceptions = new Exceptions(this.#changed);
    this.#silence = new Silence(options.clock, this.#changed);
  }

  /** @returns whether the policy lets the hit be told: as an alert, by the count of an open one, or in a summary */
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
    const key = stableId(`${hit.rule.id} ${keyOf(hit)}`);
    const open = this.#open.get(key);
    if (open !== undefined && now - open.openedAt < WINDOW) {
      this.#count(open, hit);
      return;
    }
    if (open !== undefined) this.#close(key, open);
    const { rule } = hit;
    const limit = this.#limitOf(rule.id.slice(0, LONGEST_ID));
    const isAboveRuleLimit = !limit.allows(now);
    if (isAboveRuleLimit || !this.#deviceLimit.allows(now)) {
      if (isUrgent(levelOf(hit)) && this.#firsts.admits(rule.id, userOf(hit), now)) this.#openAlert(key, hit, now);
      else this.#limit(isAboveRuleLimit ? 'ruleLimit' : 'deviceLimit', hit, now);
      return;
    }
    limit.use(now);
    this.#deviceLimit.use(now);
    this.#firsts.raised(rule.id, userOf(hit), now);
    this.#openAlert(key, hit, now);
  }

  /** Tells what is due: updates, summaries, an early message. @returns when to call it again, by the monotonic clock */
  tick(): Duration | undefined {
    const now = this.#clock.monotonic();
    for (const [key, open] of this.#open) if (now - open.openedAt >= WINDOW) this.#close(key, open);
    for (const [type, limited] of this.#limited) if (now - limited.since >= WINDOW) this.#summarize(type, limited);
    for (const [rule, limit] of this.#ruleLimits) if (limit.isIdle(now)) this.#ruleLimits.delete(rule);
    this.#askEarly(now);
    const due = [
      ...[...this.#open.values()].map(({ openedAt }) => openedAt + WINDOW),
      ...[...this.#limited.values()].map(({ since }) => since + WINDOW),
      ...(this.#isEarlyDue && this.#earlyAt !== undefined ? [this.#earlyAt + EARLY] : []),
    ];
    return due.length === 0 ? undefined : milliseconds(due.reduce((a, b) => Math.min(a, b)));
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
      open: [...this.#open].map(([key, { alert, openedAt, told }]) => ({ key, alert, told, ageMs: now - openedAt })),
      limited: [...this.#limited].map(([type, { alert, since }]) => ({ type, alert, ageMs: now - since })),
      ruleLimits: [...this.#ruleLimits].map(([rule, limit]) => ({ rule, agesMs: limit.ages(now) })),
      deviceLimit: this.#deviceLimit.ages(now),
      firsts: this.#firsts.toJson(now),
      history: this.history.toJson(),
      exceptions: this.#exceptions.toJson(),
      silence: this.#silence.toJson(),
    };
  }

  /** Continues with what `toJson` returned. To be called before the first hit. A damaged value is ignored. */
  restore(value: unknown): void {
    const checked = v.safeParse(Saved, value);
    if (!checked.success) return;
    const saved = checked.output;
    const now = this.#clock.monotonic();
    // What has passed by the wall clock; a clock that was set back or far ahead at most ends all windows.
    const passed = Math.min(WINDOW, Math.max(0, this.#clock.now().getTime() - saved.savedAt));
    const at = (ageMs: number) => milliseconds(now - ageMs - passed);
    for (const { key, alert, told, ageMs } of saved.open) this.#open.set(key, { alert, told, openedAt: at(ageMs) });
    for (const { type, alert, ageMs } of saved.limited) this.#limited.set(type, { alert, since: at(ageMs) });
    const ages = (agesMs: readonly number[]) => agesMs.map((ageMs) => ageMs + passed);
    for (const { rule, agesMs } of saved.ruleLimits) this.#limitOf(rule).restore(ages(agesMs), now);
    this.#deviceLimit.restore(ages(saved.deviceLimit), now);
    this.#firsts.restore(saved.firsts, now, passed);
    this.history.restore(saved.history);
    this.#exceptions.restore(saved.exceptions);
    this.#silence.restore(saved.silence);
  }

  #suppression(hit: Hit): SuppressedBy | undefined {
    const policy = this.#policy();
    const off = offReason({ ...hit.rule, level: levelOf(hit) }, policy);
    if (off !== undefined) return off;
    if (this.#exceptions.match(hit, policy.exceptions, this.#clock.now()) !== undefined) return 'exception';
    return this.#silence.isInForce(policy.silencedUntil) ? 'silenced' : undefined;
  }

  #suppress(reason: SuppressedBy): void {
    this.#suppressed.set(reason, (this.#suppressed.get(reason) ?? 0) + 1);
  }

  #count(open: Open, { subject }: Hit): void {
    this.#counted += 1;
    const { alert } = open;
    open.alert = { ...alert, count: alert.count + 1, last: Math.max(alert.last, subject.time) };
  }

  #openAlert(key: string, hit: Hit, now: Duration): void {
    const evidence = evidenceOf(hit, alertTypeOf(hit.rule), { redact: this.#redact });
    const { time } = hit.subject;
    const alert: KeptAlert = { alertId: this.#idOf(key, time), count: 1, first: time, last: time, ...evidence };
    this.#open.set(key, { alert: trimmed(alert), openedAt: now, told: 1 });
    for (const [oldest, open] of this.#open) {
      if (this.#open.size <= MAX_KEYS) break;
      this.#close(oldest, open);
    }
    this.#alerts += 1;
    this.#bySeverity.set(alert.severity, (this.#bySeverity.get(alert.severity) ?? 0) + 1);
    this.#tell(alert, 'Security alert.');
  }

  /**
   * The same for the same key within an hour of the events' time. So an alert that was raised just before the agent was killed,
   * and that its state on disk doesn't have yet, gets its id again when the agent reads the event again, or the next one. A
   * further alert of the key within that hour, of a late event for example, gets an id of its own, which is the same again as
   * well.
   */
  #idOf(key: string, time: number): string {
    const text = `${this.#origin} alert ${key} ${Math.floor(time / WINDOW)}`;
    let id = stableId(text);
    for (let number = 2; this.history.has(id); number += 1) id = stableId(`${text} ${number}`);
    return id;
  }

  /** Ends counting for an alert, and tells the count if it has grown. */
  #close(key: string, open: Open): void {
    this.#open.delete(key);
    this.#changed();
    if (open.alert.count > open.told) this.#tell(open.alert, 'Security alert, seen again.');
  }

  #limit(reason: 'ruleLimit' | 'deviceLimit', hit: Hit, now: Duration): void {
    this.#suppress(reason);
    const type = alertTypeOf(hit.rule);
    const { time } = hit.subject;
    const limited = this.#limited.get(type);
    if (limited === undefined) {
      const evidence = evidenceOf(hit, type, { redact: this.#redact });
      const alert = { alertId: randomUUID(), count: 1, first: time, last: time, ...evidence };
      this.#limited.set(type, { alert: trimmed(alert), since: now });
      return;
    }
    const { alert } = limited;
    const level = levelOf(hit);
    const severity = isBelow(alert.severity, level) ? level : alert.severity;
    const [first, last] = [Math.min(alert.first, time), Math.max(alert.last, time)];
    limited.alert = { ...alert, severity, count: alert.count + 1, first, last };
  }

  /** The evidence is that of the first hit above the limit. */
  #summarize(type: string, { alert }: Limited): void {
    this.#limited.delete(type);
    this.#changed();
    this.#bySeverity.set(alert.severity, (this.#bySeverity.get(alert.severity) ?? 0) + 1);
    const details = { ...alert.details, Summary: `${alert.count} more, above the limit of alerts in an hour` };
    this.#tell({ ...alert, details }, 'Security alerts above the limit.');
  }

  #tell(alert: KeptAlert, message: string): void {
    const { alertId, alertType, severity, count } = alert;
    const now = this.#clock.now();
    this.history.add(trimmed(alert));
    this.#last = { type: alertType, severity, at: now.toISOString() };
    // With the field alertId, the line doesn't become an event of its own beside the alert.
    const fields = { alertId, alertType, severity, rule: alert.ruleId, title: alert.ruleTitle, count };
    if (isUrgent(severity)) this.#log.error(fields, message);
    else if (severity === 'medium') this.#log.warn(fields, message);
    else this.#log.info(fields, message);
    this.#raise(recordOf(alert, now));
    if (!isUrgent(severity)) return;
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

  #limitOf(rule: string): RateLimit {
    const known = this.#ruleLimits.get(rule);
    if (known !== undefined) return known;
    const limit = new RateLimit(MAX_ALERTS_PER_RULE, WINDOW);
    this.#ruleLimits.set(rule, limit);
    return limit;
  }
}

const isUrgent = (severity: AlertLevel) => severity === 'critical' || severity === 'high';

const age = v.pipe(v.number(), v.minValue(0), v.maxValue(WINDOW * 2));
const text = v.pipe(v.string(), v.maxLength(512));

const Saved = v.object({
  savedAt: v.number(),
  open: v.pipe(
    v.array(v.object({ key: text, alert: KeptAlert, told: v.pipe(v.number(), v.safeInteger()), ageMs: age })),
    v.maxLength(MAX_KEYS),
  ),
  limited: v.pipe(v.array(v.object({ type: text, alert: KeptAlert, ageMs: age })), v.maxLength(1_000)),
  ruleLimits: v.pipe(
    v.array(v.object({ rule: text, agesMs: v.pipe(v.array(age), v.maxLength(MAX_ALERTS_PER_RULE)) })),
    v.maxLength(1_000),
  ),
  deviceLimit: v.pipe(v.array(age), v.maxLength(MAX_ALERTS_PER_DEVICE)),
  firsts: v.optional(v.unknown()),
  history: v.unknown(),
  exceptions: v.unknown(),
  silence: v.unknown(),
});
