import assert from 'node:assert/strict';
import { CommandLines } from '../../../../../src/agent/linux/processes/memory/command-lines.ts';
import type { SourceStatus } from '../../../../../src/core/contract/sources.ts';
import { quietLog } from '../../../pipeline/memory-queues.ts';

describe('The status of a source that takes command lines from the reader', () => {
  const withObstacle = (blockedReason: string | undefined) => {
    const reader = { blockedReason, ask: async () => [], hold: () => () => {}, close: () => {} };
    return new CommandLines({ reader, proc: '/proc', log: quietLog() });
  };

  it('is degraded, and says why, while none can be read', () => {
    const blocked = withObstacle('Nothing is read.');
    assert.deepEqual(blocked.status({ state: 'on', source: 'audit' }), {
      state: 'degraded',
      source: 'audit',
      reason: 'Nothing is read.',
    });
    const before: SourceStatus = { state: 'degraded', source: 'procPolling', reason: 'No audit.' };
    assert.equal(blocked.status(before).reason, 'No audit. Nothing is read.');
  });

  it('is unchanged else, and where there is no source', () => {
    const on: SourceStatus = { state: 'on', source: 'audit' };
    assert.equal(withObstacle(undefined).status(on), on);
    for (const state of ['off', 'unavailable'] as const) {
      assert.deepEqual(withObstacle('Nothing is read.').status({ state }), { state });
    }
  });
});
