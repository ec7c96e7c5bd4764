import { systemClock } from '../../src/base/clock.ts';
import type { StateFiles } from '../../src/base/state-files.ts';
import type { Marking } from '../../src/contract/message.ts';
import { MessageChain } from '../../src/pipeline/message-chain.ts';
import { quietLog } from './memory-queues.ts';

const kept: StateFiles = {
  replace: (_path, _contents, done) => done(undefined),
  remove: (_path, done) => done(undefined),
  settled: async () => {},
};

/** Chains of messages that no later run continues. */
export function memoryChains(): Readonly<Record<Marking, MessageChain>> {
  const chain = () => new MessageChain({ file: '/nowhere/chain', clock: systemClock, log: quietLog(), files: kept });
  return { telemetry: chain(), security: chain() };
}
