import * as v from 'valibot';
import { ownerOf, ownerOfPayload } from '../../../core/contract/owner.ts';
import { KeptAlert } from './kept-alert.ts';

/** Number of alerts that `vakt alerts` can show. */
const MAX_KEPT_ALERTS = 200;

/**
 * The latest alerts, oldest first. An update replaces its alert and makes it the newest. Above the limit, the oldest alert of the
 * user with the most alerts is dropped, so that no user's alerts displace another user's.
 */
export class AlertHistory {
  readonly #alerts = new Map<string, KeptAlert>();
  readonly #followers = new Set<(alert: KeptAlert) => void>();

  add(alert: KeptAlert): void {
    this.#alerts.delete(alert.alertId);
    this.#alerts.set(alert.alertId, alert);
    if (this.#alerts.size > MAX_KEPT_ALERTS) this.#alerts.delete(this.#displaced());
    for (const follower of this.#followers) follower(alert);
  }

  #displaced(): string {
    const byUser = new Map<string, string[]>();
    for (const [id, { subject }] of this.#alerts) {
      const user = ownerOf((name) => (Object.hasOwn(subject, name) ? String(subject[name]) : undefined)) ?? '';
      const ids = byUser.get(user);
      if (ids === undefined) byUser.set(user, [id]);
      else ids.push(id);
    }
    const [oldest = ''] = [...byUser.values()].reduce((most, ids) => (ids.length > most.length ? ids : most), []);
    return oldest;
  }

  has(alertId: string): boolean {
    return this.#alerts.has(alertId);
  }

  list(): readonly KeptAlert[] {
    return [...this.#alerts.values()];
  }

  /** Calls `follower` for each alert and update, until the returned function is called. */
  follow(follower: (alert: KeptAlert) => void): () => void {
    this.#followers.add(follower);
    return () => this.#followers.delete(follower);
  }

  toJson(): unknown {
    return this.list();
  }

  restore(value: unknown): void {
    if (!Array.isArray(value)) return;
    for (const alert of value.slice(-MAX_KEPT_ALERTS)) {
      const checked = v.safeParse(KeptAlert, alert);
      if (checked.success) this.#alerts.set(checked.output.alertId, checked.output);
    }
  }
}

const MAX_ALERTS = 10;
/** Maximum number of alerts of one owner while there are others: a user must not displace others' alerts with harmless ones. */
const MAX_OF_OWNER = 5;
/** In UTF-16 units. */
const LONGEST_TEXT = 128;

/** An alert of level high or critical, as the status shows it while alerts cannot be sent. */
export interface LatestAlert {
  readonly rule: string;
  readonly user: string;
  /** RFC 3339, UTC. */
  readonly time: string;
}

/**
 * The latest alerts of level high or critical, keyed by position from the newest, because a twin has no arrays.
 *
 * @param alerts oldest first
 */
export function latestAlerts(alerts: readonly KeptAlert[]): Readonly<Record<string, LatestAlert>> {
  const urgent = alerts.filter(({ severity }) => severity === 'high' || severity === 'critical').reverse();
  const byOwner = new Map<string | undefined, number>();
  const isWithinShare = ({ subject }: KeptAlert) => {
    const owner = ownerOfPayload(subject);
    const before = byOwner.get(owner) ?? 0;
    byOwner.set(owner, before + 1);
    return before < MAX_OF_OWNER;
  };
  const first = new Set(urgent.filter(isWithinShare).slice(0, MAX_ALERTS));
  const rest = urgent.filter((alert) => !first.has(alert)).slice(0, MAX_ALERTS - first.size);
  const chosen = urgent.filter((alert) => first.has(alert) || rest.includes(alert));
  return Object.fromEntries(chosen.map((alert, index) => [String(index + 1), entryOf(alert)]));
}

const entryOf = ({ ruleTitle, subject, last }: KeptAlert): LatestAlert => ({
  rule: ruleTitle.slice(0, LONGEST_TEXT),
  user: userIn(subject).slice(0, LONGEST_TEXT),
  time: new Date(last).toISOString(),
});

/** `2001 (bob)`. */
function userIn({ UserId, UserName }: KeptAlert['subject']): string {
  if (UserId === undefined) return UserName === undefined ? 'none' : String(UserName);
  return UserName === undefined ? String(UserId) : `${UserId} (${UserName})`;
}
