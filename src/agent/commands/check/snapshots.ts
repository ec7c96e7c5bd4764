import { systemClock } from '../../../core/base/clock.ts';
import { AgentError } from '../../../core/base/errors.ts';
import { counted } from '../../../core/base/text.ts';
import type { PeriodicCollector } from '../../../core/contract/collector.ts';
import type { Sources } from '../../../core/contract/sources.ts';
import { collectors } from '../../collectors/index.ts';
import { snapshotSources } from '../snapshot-sources.ts';
import { type Finding, failed, ok } from './finding.ts';
import { type Check, step } from './situation.ts';
import { sourceFinding } from './source-finding.ts';

/** Takes every snapshot once, as the agent would. If an agent is running, its last snapshots are reported instead. */
export const snapshots: Check = {
  name: 'snapshots',
  worksWithoutConfiguration: true,
  async run({ local, agent, signal }) {
    const { status } = agent;
    if (status !== undefined) {
      return periodic().flatMap(({ name }) => {
        const found = status.collectors[name];
        return found === undefined ? [] : [sourceFinding(name, found)];
      });
    }
    const sources = snapshotSources(local.hostRoot, NO_AGENT);
    const findings: Finding[] = [];
    for (const collector of periodic()) findings.push(await snapshot(collector, sources, signal));
    return findings;
  },
};

const periodic = () =>
  collectors.filter((c): c is PeriodicCollector => c.category === 'Periodic' && c.type === 'Security');

/** Takes one snapshot, and measures its cost. */
export async function snapshot(collector: PeriodicCollector, sources: Sources, signal: AbortSignal): Promise<Finding> {
  const { name } = collector;
  const began = systemClock.monotonic();
  const usedBefore = process.cpuUsage();
  try {
    const rows = await step(name, collector.collect(sources, signal), signal);
    const tookMs = Math.round(systemClock.monotonic() - began);
    const { user, system } = process.cpuUsage(usedBefore);
    const result = `${counted(rows.length, 'element')} in ${tookMs} ms, ${Math.round((user + system) / 1_000)} ms CPU time`;
    const status = collector.sourceStatus?.(sources);
    return status === undefined ? ok(name, result) : sourceFinding(name, status, `${result}, `);
  } catch (error) {
    signal.throwIfAborted();
    return failed(name, error);
  }
}

/** Only a running agent has statistics; no Security collector needs them. */
const noAgent = () =>
  Promise.reject(new AgentError('AGENT_NOT_RUNNING', 'no agent is running', 'Start it with "vakt run".'));
const NO_AGENT: Sources['statistics'] = { queues: noAgent, messages: noAgent };
