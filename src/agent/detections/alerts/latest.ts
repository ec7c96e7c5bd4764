import { ownerOfPayload } from '../../../core/contract/owner.ts';
import type { KeptAlert } from './kept-alert.ts';

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
