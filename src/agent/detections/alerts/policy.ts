import { ALERT_LEVELS, type AlertLevel } from '../../../core/contract/event.ts';
import type { AlertException } from '../../../core/contract/setting-kinds.ts';
import type { Settings } from '../../../core/contract/settings.ts';
import type { Rule } from '../subject.ts';

/** Settings from the module twin (contract §2). */
export interface AlertPolicy {
  readonly enabled: boolean;
  readonly minimumLevel: AlertLevel;
  /** Ids of rules, or alert types. */
  readonly disabledRules: readonly string[];
  /** Keyed by id of the exception. */
  readonly exceptions: Readonly<Record<string, AlertException>>;
  /** RFC 3339. Not silenced if empty. */
  readonly silencedUntil: string;
}

export const alertPolicy = (settings: Settings): AlertPolicy => ({
  enabled: settings.detectionsEnabled,
  minimumLevel: settings.detectionsMinimumLevel,
  disabledRules: settings.detectionsDisabledRules,
  exceptions: settings.detectionsExceptions,
  silencedUntil: settings.detectionsSilencedUntil,
});

/** Why a hit raises no alert of its own, apart from being counted by an open one. */
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

/** Rules of the operator need not name an alert type. */
export const alertTypeOf = (rule: Pick<Rule, 'alert' | 'id'>): string =>
  (rule.alert ?? 'VAKT_CustomAlert').slice(0, 128);

/** Whether a name in the module twin refers to this rule: its id, or its alert type. */
export const isNamed = (rule: Pick<Rule, 'alert' | 'id'>, name: string): boolean =>
  name === rule.id || name === alertTypeOf(rule);

/** Why the policy disables a rule completely; `undefined` if it does not. */
export function offReason(
  rule: Pick<Rule, 'alert' | 'id' | 'level'>,
  { enabled, disabledRules, minimumLevel }: Pick<AlertPolicy, 'enabled' | 'disabledRules' | 'minimumLevel'>,
): SuppressedBy | undefined {
  if (!enabled) return 'switchedOff';
  if (disabledRules.some((name) => isNamed(rule, name))) return 'disabledRule';
  return isBelow(rule.level, minimumLevel) ? 'minimumLevel' : undefined;
}
