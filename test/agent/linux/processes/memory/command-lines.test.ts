import assert from 'node:assert/strict';
import { CommandLines } from '../../../../../src/agent/linux/processes/memory/command-lines.ts';
import type { SourceStatus } from '../../../../../src/core/contract/sources.ts';
import { quietLog } from '../../../pipeline/memory-queues.ts';

describe('CommandLines.hold', () => {
  it('keeps the reader ready until it is released', () => {
    let holds = 0;
    const hold = () => {
      holds += 1;
      return () => {
        holds -= 1;
      };
    };
    const reader = { blockedReason: undefined, ask: async () => [], hold, close: () => {} };
    const release = new CommandLines({ reader, proc: '/proc', log: quietLog() }).hold();
    assert.equal(holds, 1);
    release();
    assert.equal(holds, 0);
  });

  it('closes the reader', () => {
    let closed = 0;
    const reader = {
      blockedReason: undefined,
      ask: async () => [],
      hold: () => () => {},
      close: () => {
        closed += 1;
      },
    };
    new CommandLines({ reader, proc: '/proc', log: quietLog() }).close();
    assert.equal(closed, 1);
  });
});

describe('CommandLines.status', () => {
  const withObstacle = (blockedReason: string | undefined) => {
    const reader = { blockedReason, ask: async () => [], hold: () => () => {}, close: () => {} };
    return new CommandLines({ reader, proc: '/proc', log: quietLog() });
  };

  it('is degraded with a reason while no command line can be read', () => {
    const blocked = withObstacle('Nothing is read.');
    assert.deepEqual(blocked.status({ state: 'on', source: 'audit' }), {
      state: 'degraded',
      source: 'audit',
      reason: 'Nothing is read.',
    });
    const before: SourceStatus = { state: 'degraded', source: 'procPolling', reason: 'No audit.' };
    assert.equal(blocked.status(before).reason, 'No audit. Nothing is read.');
  });

  it('is unchanged otherwise, and without a source', () => {
    const on: SourceStatus = { state: 'on', source: 'audit' };
    assert.equal(withObstacle(undefined).status(on), on);
    for (const state of ['off', 'unavailable'] as const) {
      assert.deepEqual(withObstacle('Nothing is read.').status({ state }), { state });
    }
  });
});
