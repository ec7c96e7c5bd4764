import assert from 'node:assert/strict';
import fc from 'fast-check';
import { randomPart } from '../../../src/core/base/random-part.ts';

describe('randomPart', () => {
  it('is a quarter at least, and never the whole', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (random) => {
        const part = randomPart(() => random);
        assert.ok(part >= 0.25 && part <= 1, String(part));
      }),
    );
  });

  it('is another for each device', () => {
    assert.equal(new Set(Array.from({ length: 1_000 }, () => randomPart())).size, 1_000);
  });
});
