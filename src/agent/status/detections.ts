import { counted } from '../../core/base/text.ts';
import type { SettingId } from '../../core/contract/settings.ts';
import type { AlertsStatus } from '../detections/alerts/alerts.ts';
import type { LatestAlert } from '../detections/alerts/latest.ts';
import type { SilencedRules } from '../detections/alerts/silenced-rules.ts';
import type { EvaluationStatus } from '../detections/detections.ts';
import type { DetectionsStatus } from './schema.ts';

/** What the detections say about themselves. */
export interface ObservedDetections extends EvaluationStatus {
  readonly alerts: AlertsStatus;
  /** Unknown names, keyed by setting. */
  readonly warnings: Readonly<Partial<Record<SettingId, string>>>;
  /** If omitted, every rule of level high or critical raises alerts. */
  readonly silencedRules?: SilencedRules | undefined;
  /** Keyed by position; absent unless alerts are held. */
  readonly latest?: Readonly<Record<string, LatestAlert>> | undefined;
}

/** `securityAgent.detections`. */
export function detectionsStatus(observed: ObservedDetections): DetectionsStatus {
  const { problem, rules, alerts, incomplete, isEnabled, latest } = observed;
  const reasons = [
    ...(problem === undefined ? [] : [problem]),
    ...(rules.refused === 0
      ? []
      : [`${counted(rules.refused, 'file of rules is', 'files of rules are')} refused; "vakt rules list" says why.`]),
    ...Object.entries(incomplete).map(([event, rows]) => `${counted(rows, 'row')} of ${event} could not be compared.`),
    ...(alerts.silenceRefused === undefined
      ? []
      : [`silenced until ${alerts.silenceRefused} is refused: it is more than 7 days ahead, or the clock is not set.`]),
  ];
  const { exceptions, unusedExceptions } = alerts;
  return {
    state: !isEnabled ? 'off' : reasons.length > 0 ? 'degraded' : 'on',
    ...(isEnabled && reasons.length > 0 ? { reason: reasons.join(' ') } : {}),
    rules: { loaded: rules.loaded, refused: rules.refused, off: rules.off },
    ruleSetHash: rules.hash,
    ...(rules.ownHash === undefined ? {} : { ownRulesHash: rules.ownHash }),
    alerts: alerts.bySeverity,
    counted: alerts.counted,
    suppressed: alerts.suppressed,
    ...(alerts.last === undefined ? {} : { last: alerts.last }),
    ...(latest === undefined ? {} : { latest }),
    ...(alerts.silencedUntil === undefined ? {} : { silencedUntil: alerts.silencedUntil }),
    ...(Object.keys(exceptions).length === 0 ? {} : { exceptions }),
    ...(unusedExceptions === undefined ? {} : { unusedExceptions }),
  };
}
