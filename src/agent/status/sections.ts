import { counted } from '../../core/base/text.ts';
import type { Collector } from '../../core/contract/collector.ts';
import type { HubStatus } from '../../core/contract/hub.ts';
import type { SettingId } from '../../core/contract/settings.ts';
import type { StreamName } from '../../core/contract/streams.ts';
import type { AlertsStatus } from '../detections/alerts/alerts.ts';
import type { LatestAlert } from '../detections/alerts/history.ts';
import type { SilencedRules } from '../detections/alerts/silenced-rules.ts';
import type { EvaluationStatus } from '../detections/detections.ts';
import type { AgentFacts, SnapshotFacts } from '../posture/evaluate.ts';
import type { DetectionsStatus, LocalStatus, Posture } from './schema.ts';

/** Streams that the kernel's audit reports best. Ends of programs come from elsewhere anyway. */
const AUDITED: readonly StreamName[] = ['starts', 'connections', 'logins'];

/** What the running agent knows of itself, for recommendations. */
export function agentFacts(
  { configuration, collectors, hub }: Pick<LocalStatus, 'configuration' | 'collectors'> & { hub: HubStatus },
  declared: readonly Collector[],
): AgentFacts {
  const { desiredVersion, errors, warnings } = configuration;
  const refused = Object.keys(errors).length;
  const warned = Object.keys(warnings).length;
  return {
    configuration:
      desiredVersion === undefined
        ? { unknown: 'the module twin has not been read since the start of the agent' }
        : { found: { refused, warned } },
    credential: { found: { expiresSoon: hub.credential.expiresSoon === true } },
    audit: auditFact(collectors, declared),
  };
}

function auditFact(collectors: LocalStatus['collectors'], declared: readonly Collector[]): AgentFacts['audit'] {
  const events = declared.filter((event) => event.category === 'Triggered' && AUDITED.includes(event.stream));
  const states = events.flatMap(({ name }) => collectors[name] ?? []);
  // A source without a name has not been opened yet, unless it cannot be opened.
  const evaluatedStates = states.filter(({ state, source }) => source !== undefined || state === 'unavailable');
  if (evaluatedStates.length === 0)
    return { unknown: `${events.map(({ name }) => name).join(', ')} are off, or not collected yet` };
  return { found: { eventsWithout: evaluatedStates.filter(({ source = '' }) => !source.startsWith('audit')).length } };
}

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

const UNKNOWN = { inbound: 'unknown', forward: 'unknown', outbound: 'unknown' } as const;

/** Findings of the snapshots. Unknown sections are omitted, except that an unknown packet filter is reported as such. */
export function postureSections({ exposure, firewall, accounts }: SnapshotFacts): Posture {
  return {
    ...('found' in exposure ? { exposure: exposure.found } : {}),
    firewall: 'found' in firewall ? firewall.found : UNKNOWN,
    ...('found' in accounts ? { accounts: accounts.found } : {}),
  };
}
