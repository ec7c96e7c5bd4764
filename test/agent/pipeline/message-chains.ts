import { join } from 'node:path';
import { MessageChain } from '../../../src/agent/pipeline/message-chain.ts';
import type { StateFiles } from '../../../src/agent/state/state-files.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import type { Marking } from '../../../src/core/contract/message.ts';
import { immediateStateFiles } from '../state/immediate-state-files.ts';
import { quietLog } from './memory-queues.ts';

type Chains = Readonly<Record<Marking, MessageChain>>;

const forgotten: StateFiles = {
  replace: (_path, _contents, done) => done(undefined),
  remove: (_path, done) => done(undefined),
  settled: async () => {},
};

/** Chains of messages that no later run continues. */
export const memoryChains = (): Chains => chainsIn('/nowhere', forgotten);

/** Chains of messages as a run of the agent opens them. */
export function chainsIn(directory: string, files: StateFiles = immediateStateFiles): Chains {
  const open = (marking: Marking) =>
    new MessageChain({ file: join(directory, `${marking}.json`), clock: systemClock, log: quietLog(), files });
  return { telemetry: open('telemetry'), security: open('security') };
}
