import assert from 'node:assert/strict';
import { renewalWithin } from '../../../src/agent/hub/credential.ts';
import { minutes } from '../../../src/core/base/duration.ts';

describe('renewalWithin', () => {
  it('spreads renewals over the last quarter of the age, and is never late', () => {
    for (const [random, expected] of [
      [0, 45],
      [0.5, 39.375],
      [1 - 2 ** -53, 33.75],
    ] as const) {
      assert.equal(
        renewalWithin(minutes(45), () => random),
        minutes(expected),
      );
    }
    const ages = Array.from({ length: 1_000 }, () => renewalWithin(minutes(45), Math.random));
    assert.ok(new Set(ages).size > 900);
  });
});
