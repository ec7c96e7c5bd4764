import { systemClock } from '../../../core/base/clock.ts';
import { AgentError, messageOf } from '../../../core/base/errors.ts';
import { createLog } from '../../../core/base/log.ts';
import type { PeriodicCollector } from '../../../core/contract/collector.ts';
import type { Sources } from '../../../core/contract/sources.ts';
import { collectors } from '../../collectors/index.ts';
import { hasIpv6 } from '../../linux/machine/interfaces.ts';
import { assessmentsOf } from '../../posture/evaluate.ts';
import { RECOMMENDATION_IDS, type RecommendationId, type Severity } from '../../posture/recommendation.ts';
import { SnapshotPosture } from '../../posture/snapshot-posture.ts';
import type { Posture } from '../../status/schema.ts';
import { postureSections } from '../../status/sections.ts';
import { snapshotSources } from '../snapshot-sources.ts';

/** What `vakt posture` shows. */
export interface ShownPosture {
  /** `agent`: of a running agent. `snapshots`: of snapshots that the command took; `since` is then not known. */
  readonly source: 'agent' | 'snapshots';
  readonly at: string;
  readonly posture: Omit<Posture, 'recommendations'> & {
    readonly recommendations?: Readonly<Partial<Record<RecommendationId, ShownRecommendation>>>;
  };
}

export interface ShownRecommendation {
  readonly severity: Severity;
  readonly count: number;
  readonly since?: string;
  readonly reason?: string;
}

const EVENTS = ['ListeningPorts', 'LocalUsers', 'FirewallConfiguration', 'OSBaseline'];
const NO_AGENT = { unknown: 'no agent is running' };

/** Takes the snapshots that are assessed, one after the other, and changes nothing. */
export async function ownPosture(hostRoot: string, signal: AbortSignal): Promise<ShownPosture> {
  const sources = snapshotSources(hostRoot, NO_STATISTICS);
  const snapshots = new SnapshotPosture({
    baseline: () => sources.scanned(),
    hasIpv6,
    isCollected: () => true,
    log: createLog({ level: 'silent' }),
  });
  const at = systemClock.now();
  for (const collector of collectors) {
    if (collector.category !== 'Periodic' || !EVENTS.includes(collector.name)) continue;
    await take(collector, { sources, snapshots, at, signal });
  }
  const facts = { ...snapshots.facts(() => true), messages: NO_AGENT };
  const assessments = assessmentsOf({ ...facts, configuration: NO_AGENT, credential: NO_AGENT, audit: NO_AGENT });
  const recommendations: Partial<Record<RecommendationId, ShownRecommendation>> = {};
  const notJudged: Partial<Record<RecommendationId, string>> = {};
  for (const id of RECOMMENDATION_IDS) {
    const assessment = assessments[id];
    if (assessment.state === 'holds') recommendations[id] = { severity: assessment.severity, count: assessment.count };
    else if (assessment.state === 'unknown') notJudged[id] = assessment.reason;
  }
  const baseline = sources.scanned();
  return {
    source: 'snapshots',
    at: at.toISOString(),
    posture: { ...(baseline === undefined ? {} : { baseline }), ...postureSections(facts), recommendations, notJudged },
  };
}

async function take(
  collector: PeriodicCollector,
  { sources, snapshots, at, signal }: { sources: Sources; snapshots: SnapshotPosture; at: Date; signal: AbortSignal },
): Promise<void> {
  const event = collector.name;
  try {
    const rows = await collector.collect(sources, signal);
    const { leftOut = 0, leftOutBy: _, ...source } = collector.sourceStatus?.(sources) ?? { state: 'on' };
    snapshots.accept({ event, at, rows, leftOut, source });
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof AgentError)) throw error;
    snapshots.failed(event, messageOf(error));
  }
}

const NO_STATISTICS: Sources['statistics'] = {
  queues: () => Promise.reject(new Error('no agent is running')),
  messages: () => Promise.reject(new Error('no agent is running')),
};
