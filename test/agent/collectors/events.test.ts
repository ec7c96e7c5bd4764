import assert from 'node:assert/strict';
import { collectors } from '../../../src/agent/collectors/index.ts';
import { EVENTS } from '../../../src/core/contract/events.ts';

describe('The table of events', () => {
  it('has a row for each collector, in the same order', () => {
    assert.deepEqual(
      collectors.map(({ name }) => name),
      Object.keys(EVENTS),
    );
    for (const [key, { name }] of Object.entries(EVENTS)) assert.equal(name, key);
  });

  it('marks exactly the events that their collector can aggregate', () => {
    const aggregating = collectors.filter((collector) => 'aggregate' in collector).map(({ name }) => name);
    const marked = Object.values(EVENTS).filter((row) => 'isAggregated' in row);
    assert.deepEqual(
      marked.map(({ name }) => name),
      aggregating,
    );
    assert.ok(aggregating.length > 0);
  });
});
