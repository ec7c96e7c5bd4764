import assert from 'node:assert/strict';
import { messageStatistics } from '../../../src/agent/collectors/message-statistics.ts';
import { sources } from './samples.ts';

describe('MessageStatistics', () => {
  it('reports the numbers of sent, small and failed messages', async () => {
    assert.deepEqual(await messageStatistics.collect(sources, new AbortController().signal), [
      { MessagesSent: 3, MessagesUnder4KB: 2, TotalFailed: 1 },
    ]);
  });
});
