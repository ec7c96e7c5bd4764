import assert from 'node:assert/strict';
import { droppedEventsStatistics } from '../../../src/agent/collectors/dropped-events-statistics.ts';
import { sources } from './samples.ts';

describe('DroppedEventsStatistics', () => {
  it('reports both queues and the reasons of drops', async () => {
    assert.deepEqual(await droppedEventsStatistics.collect(sources, new AbortController().signal), [
      { Queue: 'High', CollectedEvents: 5, DroppedEvents: 0 },
      { Queue: 'Low', CollectedEvents: 100, DroppedEvents: 7, ExtraDetails: { Kernel: '4', CacheFull: '3' } },
    ]);
  });
});
