import * as v from 'valibot';
import { copied } from '../../../core/base/values.ts';
import { ALERT_LEVELS, type AlertLevel } from '../../../core/contract/event.ts';
import type { AlertRaised } from '../../../core/contract/streams.ts';

const text = v.pipe(v.string(), v.maxLength(8192));
const texts = v.pipe(v.array(text), v.maxLength(64));
const time = v.pipe(v.number(), v.minValue(-8.64e15), v.maxValue(8.64e15));
const count = v.pipe(v.number(), v.safeInteger(), v.minValue(1));

/**
 * An alert as it is stored: for its update, for `vakt alerts`, and on disk. All strings are bounded and redacted. Times are in
 * milliseconds since the epoch.
 */
export const KeptAlert = v.object({
  alertId: v.pipe(v.string(), v.uuid()),
  alertType: text,
  severity: v.picklist(ALERT_LEVELS),
  ruleId: text,
  ruleTitle: text,
  ruleSource: v.picklist(['builtin', 'local']),
  ruleAuthor: v.optional(text),
  tactics: texts,
  techniques: texts,
  count,
  first: time,
  last: time,
  event: text,
  eventIds: texts,
  subject: v.record(v.string(), v.union([text, v.number(), v.boolean()])),
  parentExecutable: v.optional(text),
  parentCommandLine: v.optional(text),
  during: v.optional(text),
  /** Names of the rule's selections, joined by `;`. */
  selection: v.optional(text),
  remediation: text,
  details: v.record(v.string(), text),
});
export type KeptAlert = v.InferOutput<typeof KeptAlert>;

/** An alert without its id, count and times. */
export type Evidence = Omit<KeptAlert, 'alertId' | 'count' | 'first' | 'last'>;

/** The record for the SecurityAlert event. */
export const recordOf = (alert: KeptAlert, time: Date): AlertRaised => ({
  time,
  alertId: alert.alertId,
  alertType: alert.alertType,
  severity: alert.severity,
  rule: {
    id: alert.ruleId,
    title: alert.ruleTitle,
    source: alert.ruleSource,
    ...(alert.ruleAuthor === undefined ? {} : { author: alert.ruleAuthor }),
  },
  tactics: alert.tactics,
  techniques: alert.techniques,
  count: alert.count,
  firstSeen: new Date(alert.first),
  lastSeen: new Date(alert.last),
  event: alert.event,
  eventIds: alert.eventIds,
  subject: subjectOf(alert),
  ...(alert.parentExecutable === undefined ? {} : { parentExecutable: alert.parentExecutable }),
  ...(alert.parentCommandLine === undefined ? {} : { parentCommandLine: alert.parentCommandLine }),
  ...(alert.during === undefined ? {} : { during: alert.during }),
  ...(alert.selection === undefined ? {} : { selection: alert.selection }),
  remediation: alert.remediation,
  ...(Object.keys(alert.details).length === 0 ? {} : { details: alert.details }),
});

/** ContainerId and Sha256 come from ExtraDetails if the event has them there. */
function subjectOf({ subject: { ContainerId, Sha256, ...fields } }: KeptAlert): AlertRaised['subject'] {
  const details = {
    ...(ContainerId === undefined ? {} : { ContainerId }),
    ...(Sha256 === undefined ? {} : { Sha256 }),
  };
  return Object.keys(details).length === 0 ? fields : { ...fields, ExtraDetails: details };
}

export const worse = (one: AlertLevel, other: AlertLevel): AlertLevel =>
  ALERT_LEVELS.indexOf(one) > ALERT_LEVELS.indexOf(other) ? one : other;

/** In UTF-16 units. */
const LONGEST_TRIMMED = 512;

/** A copy with truncated command lines, because hundreds of alerts are stored. */
export function trimmed(alert: KeptAlert): KeptAlert {
  const short = (text: string) => (text.length > LONGEST_TRIMMED ? copied(`${text.slice(0, LONGEST_TRIMMED)}…`) : text);
  const shorter = <T>(values: Readonly<Record<string, T>>) =>
    Object.fromEntries(
      Object.entries(values).map(([name, value]) => [name, typeof value === 'string' ? short(value) : value]),
    ) as Record<string, T>;
  return {
    ...alert,
    subject: shorter(alert.subject),
    details: shorter(alert.details),
    ...(alert.parentCommandLine === undefined ? {} : { parentCommandLine: short(alert.parentCommandLine) }),
  };
}
