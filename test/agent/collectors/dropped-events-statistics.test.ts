import assert from 'node:assert/strict';
import { droppedEventsStatistics } from '../../../src/agent/collectors/dropped-events-statistics.ts';
import { sources } from './samples.ts';

describe('DroppedEventsStatistics', () => {
  it('reports both queues, and why events were dropped', async () => {
    assert.deepEqual(await droppedEventsStatistics.collect(sources, new AbortController().signal), [
      { Queue: 'High', CollectedEvents: 5, DroppedEvents: 0 },
      { Queue: 'Low', CollectedEvents: 100, DroppedEvents: 7, ExtraDetails: { Kernel: '4', CacheFull: '3' } },
    ]);
  });
});
