import { systemClock } from '../../../core/base/clock.ts';
import { createLog } from '../../../core/base/log.ts';
import type { Collector, TriggeredCollector } from '../../../core/contract/collector.ts';
import { collectors } from '../../collectors/index.ts';
import { LinuxEvents } from '../../linux/events.ts';
import { notTried } from './finding.ts';
import { type Check, type Situation, step } from './situation.ts';
import { sourceFinding } from './source-finding.ts';

const NAME = 'Triggered events';

/** The source of each Triggered event; from the status, if an agent is running. */
export const events: Check = {
  name: NAME,
  worksWithoutConfiguration: true,
  async run(situation) {
    const { status, statusError } = situation.agent;
    if (statusError !== undefined) return [notTried(NAME, "only one process can have the kernel's audit")];
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
