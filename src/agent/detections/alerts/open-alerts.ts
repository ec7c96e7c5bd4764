import * as v from 'valibot';
import { type Duration, hours, milliseconds, minutes, seconds } from '../../../core/base/duration.ts';
import { type Evidence, KeptAlert, trimmed, worse } from './kept-alert.ts';

/** While an alert is this young, hits with its key are counted instead of raising another alert. */
export const WINDOW = hours(1);
/** Maximum number of early updates of an alert within the window, and minimum interval between two. */
const MAX_EARLY_UPDATES = 5;
const UPDATE_INTERVAL = minutes(1);
const MAX_ALERTS = 1_024;
/** The evidence of this many repetitions is compared; after that, one per interval. */
const FREE_COMPARISONS = 16;
const COMPARISON_INTERVAL = seconds(1);

/** An alert whose further hits are counted. */
interface Open {
  alert: KeptAlert;
  /** The user whose limits apply to the alert. */
  readonly user: string;
  /** Time of the alert on the monotonic clock. */
  readonly openedAt: Duration;
  /** The count last sent, and when. */
  sent: number;
  sentAt: Duration;
  earlyUpdates: number;
  /** Whether there is evidence that was not sent yet. */
  hasNewEvidence: boolean;
  comparisons: number;
  comparedAt: Duration;
}

/** Parts of the evidence for which a repetition is worth an update. Process ids and local ports always differ. */
const DISTINCTIVE: readonly string[] = [
  ...['Executable', 'CommandLine', 'UserId', 'UserName', 'RemoteAddress', 'ContainerId', 'Sha256', 'Path', 'Result'],
];

/** Equal strings for evidence that shows nothing new. */
export function printOf({ subject, selection, parentExecutable, parentCommandLine, details }: Evidence): string {
  const { CorrelatedEvents: _, ...facts } = details;
  const parts = DISTINCTIVE.map((name) => subject[name]);
  return JSON.stringify([parts, subject.Direction === 'Out' ? subject.RemotePort : '', selection, facts]).concat(
    JSON.stringify([parentExecutable, parentCommandLine]),
  );
}

const NOT_REPEATED = { earlyUpdates: 0, hasNewEvidence: false, comparisons: 0, comparedAt: milliseconds(0) };

/** The alerts of the last hour, keyed by key, oldest first. */
export class OpenAlerts {
  readonly #open = new Map<string, Open>();
  readonly #update: (alert: KeptAlert) => void;

  /** @param update sends the changes since an alert was last sent */
  constructor(update: (alert: KeptAlert) => void) {
    this.#update = update;
  }

  has(key: string, now: Duration): boolean {
    const open = this.#open.get(key);
    if (open === undefined) return false;
    if (now - open.openedAt < WINDOW) return true;
    this.#close(key, open);
    return false;
  }

  add(key: string, user: string, alert: KeptAlert, now: Duration): void {
    const kept = trimmed(alert);
    const counts = { sent: alert.count, sentAt: now, ...NOT_REPEATED };
    this.#open.set(key, { alert: kept, user, openedAt: now, ...counts });
    if (this.#open.size <= MAX_ALERTS) return;
    const [oldest] = this.#ofLargestUser();
    if (oldest !== undefined) this.#close(...oldest);
  }

  /**
   * Counts a further hit.
   *
   * @param time of the hit, in milliseconds since the epoch
   * @param evidence returns the evidence of the hit; omitted if it certainly shows nothing new
   * @returns whether an update is due earlier than before
   */
  count(key: string, { time, now, evidence }: { time: number; now: Duration; evidence?: () => Evidence }): boolean {
    const open = this.#open.get(key);
    if (open === undefined) return false;
    const { alert } = open;
    const counts = { count: alert.count + 1, last: Math.max(alert.last, time) };
    open.alert = { ...alert, ...counts };
    if (evidence === undefined || open.earlyUpdates >= MAX_EARLY_UPDATES) return false;
    if (open.comparisons >= FREE_COMPARISONS && now - open.comparedAt < COMPARISON_INTERVAL) return false;
    open.comparisons += 1;
    open.comparedAt = now;
    const { alertId, first, severity } = alert;
    const latest = evidence();
    const updated = trimmed({ ...latest, severity: worse(latest.severity, severity), alertId, first, ...counts });
    if (printOf(updated) === printOf(alert)) return false;
    open.alert = updated;
    if (open.hasNewEvidence) return false;
    open.hasNewEvidence = true;
    return true;
  }

  /** Sends everything that is due. @returns when to call it again, by the monotonic clock */
  tick(now: Duration): Duration | undefined {
    let next: number | undefined;
    for (const [key, open] of this.#open) {
      if (now - open.openedAt >= WINDOW) this.#close(key, open);
      else {
        if (now >= dueAt(open)) this.#send(open, now);
        next = Math.min(next ?? Number.POSITIVE_INFINITY, dueAt(open));
      }
    }
    return next === undefined ? undefined : milliseconds(next);
  }

  #send(open: Open, now: Duration): void {
    const { alert } = open;
    open.sent = alert.count;
    open.sentAt = now;
    open.earlyUpdates += 1;
    open.hasNewEvidence = false;
    this.#update(alert);
  }

  /** Stops counting for an alert, and sends the count if it has grown. */
  #close(key: string, { alert, sent }: Open): void {
    this.#open.delete(key);
    if (alert.count > sent) this.#update(alert);
  }

  /** Alerts of the user with the most, oldest first, so that no user's alerts displace another user's. */
  #ofLargestUser(): readonly [string, Open][] {
    const byUser = new Map<string, [string, Open][]>();
    for (const entry of this.#open) {
      const same = byUser.get(entry[1].user);
      if (same === undefined) byUser.set(entry[1].user, [entry]);
      else same.push(entry);
    }
    return [...byUser.values()].reduce((most, each) => (each.length > most.length ? each : most), []);
  }

  /** For the state on disk. */
  toJson(now: Duration): unknown {
    return [...this.#open].map(([key, { alert, user, openedAt, sent, sentAt, earlyUpdates, hasNewEvidence }]) => ({
      ...{ key, alert, user, sent, ageMs: now - openedAt, sentAgeMs: now - sentAt, earlyUpdates, hasNewEvidence },
    }));
  }

  /** Restores the state from `toJson`. @param passed milliseconds since then */
  restore(saved: readonly SavedOpenAlert[], now: Duration, passed: number): void {
    const at = (age: number) => milliseconds(now - age - passed);
    for (const { key, alert, ageMs, sent = 1, ...optional } of saved) {
      const { user = '', sentAgeMs = ageMs, earlyUpdates = 0, hasNewEvidence = false } = optional;
      const times = { openedAt: at(ageMs), sentAt: at(sentAgeMs) };
      this.#open.set(key, { ...NOT_REPEATED, alert, user, sent, earlyUpdates, hasNewEvidence, ...times });
    }
  }
}

const dueAt = ({ hasNewEvidence, openedAt, sentAt }: Open): number =>
  hasNewEvidence ? Math.min(sentAt + UPDATE_INTERVAL, openedAt + WINDOW) : openedAt + WINDOW;

const age = v.pipe(v.number(), v.minValue(0), v.maxValue(WINDOW * 2));
const text = v.pipe(v.string(), v.maxLength(512));
const count = v.pipe(v.number(), v.safeInteger());

/** Members that the previous release did not write are optional. */
const SavedOpenAlert = v.object({
  key: text,
  alert: KeptAlert,
  sent: v.optional(count),
  ageMs: age,
  user: v.optional(text),
  sentAgeMs: v.optional(age),
  earlyUpdates: v.optional(count),
  hasNewEvidence: v.optional(v.boolean()),
});
export type SavedOpenAlert = v.InferOutput<typeof SavedOpenAlert>;
export const SavedOpenAlerts = v.pipe(v.array(SavedOpenAlert), v.maxLength(MAX_ALERTS));
