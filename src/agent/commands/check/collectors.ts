import { systemClock } from '../../../core/base/clock.ts';
import { AgentError } from '../../../core/base/errors.ts';
import { createLog } from '../../../core/base/log.ts';
import { counted } from '../../../core/base/text.ts';
import type { Collector, PeriodicCollector, TriggeredCollector } from '../../../core/contract/collector.ts';
import type { SourceStatus, Sources } from '../../../core/contract/sources.ts';
import { collectors } from '../../collectors/index.ts';
import { LinuxEvents } from '../../linux/events.ts';
import { snapshotSources } from '../snapshot-sources.ts';
import { type Finding, failed, notTried, ok } from './finding.ts';
import { type Check, type Situation, step } from './situation.ts';

/** The cost of each source of Triggered events, as measured by the benchmarks, see src/agent/linux/README.md. */
const COSTS: Readonly<Record<string, string>> = {
  auditUnicast: '3 audit records per program start',
  auditMulticast: '7 audit records per program start, also for the other daemon',
  auditLog: "reads everything that auditd's log grows by",
  procConnector: 'a message per start and end, and reads of /proc',
  procPolling: '1 % of a core; misses short programs',
};

/**
 * Describes the state of a source. A source that sees less than it should is a warning. If a better source exists, the
 * finding is a note. The remedy has the steps to use it.
 */
export function sourceFinding(check: string, { state, source, reason }: SourceStatus, before = ''): Finding {
  const cost = source === undefined ? undefined : COSTS[source];
  const from = source === undefined ? '' : `, from ${source}${cost === undefined ? '' : ` (${cost})`}`;
  const isBlind = state === 'degraded' || state === 'unavailable';
  return {
    check,
    state: isBlind ? 'warn' : reason === undefined || state === 'off' ? 'ok' : 'note',
    finding: `${before}${state}${from}`,
    ...(reason === undefined ? {} : { remedy: reason }),
    ...(isBlind ? { sees: state === 'unavailable' ? 'nothing' : 'part' } : {}),
  };
}

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

const EVENTS = 'Triggered events';

/** The source of each Triggered event; from the status, if an agent is running. */
export const events: Check = {
  name: EVENTS,
  worksWithoutConfiguration: true,
  async run(situation) {
    const { status, statusError } = situation.agent;
    if (statusError !== undefined) return [notTried(EVENTS, "only one process can have the kernel's audit")];
    if (status === undefined) return openAndClose(situation);
    // With the agent's own events, such as statistics, which can't be tried without a running agent.
    const ownEvents = collectors.filter((c) => c.category === 'Triggered' || c.type !== 'Security');
    return ownEvents.flatMap(({ name }) => {
      const found = status.collectors[name];
      return found === undefined ? [] : [sourceFinding(name, found)];
    });
  },
};

/** Opens every source as the agent would, and closes it again. */
async function openAndClose({ local: { hostRoot, collectors: options }, signal }: Situation) {
  const followed = collectors.filter(isFollowed);
  const source = new LinuxEvents({
    streams: () => new Set(followed.map(({ stream }) => stream)),
    sink: { accept: () => {}, drop: () => {} },
    yieldsToAgent: true,
    hostRoot,
    loopback: options.loopbackConnections,
    clock: systemClock,
    log: createLog({ level: 'silent' }),
  });
  try {
    await step('the sources of events', source.start(), signal);
    return followed.map(({ name, stream }) => sourceFinding(name, source.status(stream)));
  } finally {
    await source.stop();
  }
}

const isFollowed = (collector: Collector): collector is TriggeredCollector =>
  collector.category === 'Triggered' && collector.type === 'Security';
