import { ALERT_LEVELS, type AlertLevel } from '../../../core/contract/event.ts';
import type { Rule } from '../subject.ts';

/** Hits that an operator knows to be harmless. One of the four texts is given. */
export interface AlertException {
  /** Id of a rule, or type of an alert. */
  readonly rule: string;
  /** A field of the event, by its name in rules or in messages. */
  readonly field: string;
  readonly equals?: string | undefined;
  readonly startsWith?: string | undefined;
  readonly endsWith?: string | undefined;
  readonly cidr?: string | undefined;
  /** RFC 3339; absent: for ever. */
  readonly until?: string | undefined;
  readonly comment?: string | undefined;
}

/** What the module twin sets (contract §2). */
export interface AlertPolicy {
  readonly enabled: boolean;
  readonly minimumLevel: AlertLevel;
  /** Ids of rules, or types of alerts. */
  readonly disabledRules: readonly string[];
  /** By the id of the exception. */
  readonly exceptions: Readonly<Record<string, AlertException>>;
  /** RFC 3339; empty: not silenced. */
  readonly silencedUntil: string;
}

/** Why a hit makes no alert of its own, besides that it is counted by an open one. */
export const SUPPRESSED_BY = [
  'switchedOff',
  'disabledRule',
  'minimumLevel',
  'exception',
  'silenced',
  'ruleLimit',
  'userLimit',
] as const;
export type SuppressedBy = (typeof SUPPRESSED_BY)[number];

export const isBelow = (level: AlertLevel, minimum: AlertLevel): boolean =>
  ALERT_LEVELS.indexOf(level) < ALERT_LEVELS.indexOf(minimum);

/** Rules of the operator may name no type. */
export const alertTypeOf = (rule: Pick<Rule, 'alert' | 'id'>): string =>
  (rule.alert ?? 'VAKT_CustomAlert').slice(0, 128);

/** Whether a name in the module twin is this rule: its id, or the type of its alerts. */
export const isNamed = (rule: Pick<Rule, 'alert' | 'id'>, name: string): boolean =>
  name === rule.id || name === alertTypeOf(rule);

/** Why the policy switches a rule off as a whole; `undefined` when it does not. */
export function offReason(
  rule: Pick<Rule, 'alert' | 'id' | 'level'>,
  { enabled, disabledRules, minimumLevel }: Pick<AlertPolicy, 'enabled' | 'disabledRules' | 'minimumLevel'>,
): SuppressedBy | undefined {
  if (!enabled) return 'switchedOff';
  if (disabledRules.some((name) => isNamed(rule, name))) return 'disabledRule';
  return isBelow(rule.level, minimumLevel) ? 'minimumLevel' : undefined;
}
