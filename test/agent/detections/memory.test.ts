import assert from 'node:assert/strict';
import { forward, heap, MEGABYTE } from './flood.ts';

describe('The memory used by detections', function () {
  this.timeout(120_000);

  it('stays constant for any number of different programs @release', async () => {
    const flood = forward();
    await flood.starts(5_000);
    const before = heap();
    await flood.starts(10_000);
    const grown = heap() - before;
    assert.ok(grown < 3 * MEGABYTE, `${(grown / MEGABYTE).toFixed(1)} MB more by 10,000 starts`);
  });

  it('stays constant for any number of different alerts, and the counts add up', async () => {
    const flood = forward();
    await flood.alerts(1_500);
    const before = heap();
    await flood.alerts(2_000);
    const grown = heap() - before;
    assert.ok(grown < MEGABYTE, `${(grown / MEGABYTE).toFixed(1)} MB more by 2,000 hits`);
    assert.equal(flood.problem(), undefined);
    const { hits, alerts, counted, suppressed } = flood.accounts();
    const left = Object.values(suppressed).reduce((all, count) => all + count, 0);
    assert.ok(hits >= 3_500);
    assert.equal(hits, alerts + counted + left);
    assert.ok(alerts <= 120, `${alerts} alerts`);
    assert.ok(flood.savedBytes() < MEGABYTE);
  });
});
