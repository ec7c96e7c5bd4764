import { randomUUID } from 'node:crypto';
import * as v from 'valibot';
import { type Duration, hours, milliseconds, minutes, seconds } from '../../../core/base/duration.ts';
import { fitted } from './fit.ts';
import { userText } from './hit-fields.ts';
import { type Evidence, KeptAlert, trimmed, worse } from './kept-alert.ts';
import { printOf } from './open-alerts.ts';

/** Interval of the first updates of a summary, and of updates with a new kind of hit; then hourly, until no hit is held back. */
const FIRST_INTERVAL = minutes(1);
const FREQUENT_UPDATES = 10;
const LATER_INTERVAL = hours(1);
/** During a flood, minimum interval between two evaluations of evidence for a known kind of hit. */
const EVIDENCE_INTERVAL = seconds(1);
/** Maximum number of kinds of hits (rule and selection) and of alert types that a summary distinguishes. */
const MAX_KINDS = 64;
const MAX_TYPES = 8;
/** One per user. */
const MAX_SUMMARIES = 256;

/** Alerts of one user that exceeded a limit. */
interface Held {
  /** The alert as last sent, or as it will be sent next. */
  alert: KeptAlert;
  sent: number;
  sentAt: Duration;
  updates: number;
  evidenceAt: Duration;
  /** Whether the evidence is of a kind that was not sent yet. */
  isNewKind: boolean;
  readonly kinds: Set<string>;
  /** Number of held-back hits, keyed by alert type. */
  readonly types: Map<string, number>;
}

/** A hit that exceeded a limit. */
interface HeldHit {
  readonly user: string;
  readonly alertType: string;
  /** Rule and selection. */
  readonly kind: string;
  readonly severity: KeptAlert['severity'];
  /** In milliseconds since the epoch. */
  readonly time: number;
  readonly evidence: () => Evidence;
}

/** Combines all hits of a user that exceed a limit into one alert, sent immediately with the latest evidence, then updated. */
export class HeldAlerts {
  readonly #held = new Map<string, Held>();
  readonly #send: (alert: KeptAlert, isNew: boolean) => void;

  constructor(send: (alert: KeptAlert, isNew: boolean) => void) {
    this.#send = send;
  }

  /** @returns whether an update is due earlier than before */
  add(hit: HeldHit, now: Duration): boolean {
    const held = this.#held.get(hit.user);
    if (held === undefined) this.#begin(hit, now);
    else return this.#count(held, hit, now);
    return true;
  }

  #begin({ user, alertType, kind, time, evidence }: HeldHit, now: Duration): void {
    const alert: KeptAlert = { ...evidence(), alertId: randomUUID(), count: 1, first: time, last: time };
    const held: Held = {
      ...{ alert, sent: 0, sentAt: now, updates: 0, evidenceAt: now, isNewKind: false },
      ...{ kinds: new Set([kind]), types: new Map([[alertType, 1]]) },
    };
    this.#held.set(user, held);
    for (const [oldest, other] of this.#held) {
      if (this.#held.size <= MAX_SUMMARIES) break;
      this.#held.delete(oldest);
      if (other.alert.count > other.sent) this.#report(oldest, other, now);
    }
    this.#report(user, held, now);
  }

  #count(held: Held, { alertType, kind, severity, time, evidence }: HeldHit, now: Duration): boolean {
    const before = dueAt(held);
    const { alert, types, kinds } = held;
    const typed = types.get(alertType);
    if (typed !== undefined || types.size < MAX_TYPES) types.set(alertType, (typed ?? 0) + 1);
    const counts = {
      ...{ count: alert.count + 1, first: Math.min(alert.first, time), last: Math.max(alert.last, time) },
      severity: worse(severity, alert.severity),
    };
    held.alert = { ...alert, ...counts };
    const isNewKind = !kinds.has(kind) && kinds.size < MAX_KINDS;
    if (isNewKind) kinds.add(kind);
    // Evidence of a new kind must not be replaced by that of the flood that hides it.
    if (!isNewKind && (held.isNewKind || now - held.evidenceAt < EVIDENCE_INTERVAL)) return false;
    const latest = trimmed({ ...evidence(), alertId: alert.alertId, ...counts });
    held.evidenceAt = now;
    if (printOf(latest) !== printOf(alert)) held.alert = latest;
    held.isNewKind ||= isNewKind;
    return dueAt(held) < before;
  }

  /** Sends everything that is due. @returns when to call it again, by the monotonic clock */
  tick(now: Duration): Duration | undefined {
    let next: number | undefined;
    for (const [user, held] of this.#held) {
      if (now >= dueAt(held)) {
        if (held.alert.count > held.sent) this.#report(user, held, now);
        else {
          this.#held.delete(user);
          continue;
        }
      }
      next = Math.min(next ?? Number.POSITIVE_INFINITY, dueAt(held));
    }
    return next === undefined ? undefined : milliseconds(next);
  }

  #report(user: string, held: Held, now: Duration): void {
    const { alert, types, sent } = held;
    const isNew = sent === 0;
    held.sent = alert.count;
    held.sentAt = now;
    held.updates += 1;
    held.isNewKind = false;
    const details = {
      ...alert.details,
      HeldBack: `${alert.count} held back, ${userText(user)}`,
      HeldBackTypes: [...types].map(([type, count]) => `${type} ${count}`).join(';'),
    };
    this.#send({ ...alert, ...fitted({ ...alert, details }) }, isNew);
  }

  /** For the state on disk. */
  toJson(now: Duration): unknown {
    return [...this.#held].map(([user, { alert, sent, sentAt, updates, isNewKind, kinds, types }]) => ({
      ...{ user, alert: trimmed(alert), sent, ageMs: now - sentAt, updates, isNewKind, kinds: [...kinds] },
      types: [...types],
    }));
  }

  /** Restores the state from `toJson`. @param passed milliseconds since then */
  restore(saved: readonly SavedHeldAlert[], now: Duration, passed: number): void {
    for (const { user, ageMs, kinds, types, ...held } of saved) {
      const at = milliseconds(now - ageMs - passed);
      const times = { sentAt: at, evidenceAt: at };
      this.#held.set(user, { ...held, ...times, kinds: new Set(kinds), types: new Map(types) });
    }
  }
}

function dueAt({ alert, sent, sentAt, updates, isNewKind }: Held): number {
  const isSoon = isNewKind || (updates <= FREQUENT_UPDATES && alert.count > sent);
  return sentAt + (isSoon ? FIRST_INTERVAL : LATER_INTERVAL);
}

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const text = v.pipe(v.string(), v.maxLength(1_024));

const SavedHeldAlert = v.object({
  user: text,
  alert: KeptAlert,
  sent: count,
  ageMs: v.pipe(v.number(), v.minValue(0), v.maxValue(LATER_INTERVAL * 2)),
  updates: count,
  isNewKind: v.boolean(),
  kinds: v.pipe(v.array(text), v.maxLength(MAX_KINDS)),
  types: v.pipe(v.array(v.tuple([text, count])), v.maxLength(MAX_TYPES)),
});
export type SavedHeldAlert = v.InferOutput<typeof SavedHeldAlert>;
export const SavedHeldAlerts = v.pipe(v.array(SavedHeldAlert), v.maxLength(MAX_SUMMARIES));
